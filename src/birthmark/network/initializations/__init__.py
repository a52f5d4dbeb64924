"""Initializations: one function each, one line in one table."""

from birthmark.network.initializations.data_dependent import (
    DATA_DEPENDENT,
    adjust_,
    initialize_,
    plan,
)
from birthmark.network.initializations.drawing import Initializer, Rule, draw
from birthmark.network.initializations.names import ALIASES
from birthmark.network.initializations.observing import modes_put_back
from birthmark.network.initializations.parametrizations import (
    PARAMETRIZATIONS,
    Scaling,
    parametrize,
)
from birthmark.network.initializations.residual import (
    FixupLayer,
    ScaledBranch,
    add_fixup_scalars_,
    fixup_,
    scale_branches_,
    zero_gamma_,
)
from birthmark.network.initializations.table import (
    INITIALIZATIONS,
    find_law,
    find_law_for,
    register_initialization,
)
from birthmark.network.initializations.target import Target

__all__ = [
    "ALIASES",
    "DATA_DEPENDENT",
    "INITIALIZATIONS",
    "PARAMETRIZATIONS",
    "FixupLayer",
    "Initializer",
    "Rule",
    "ScaledBranch",
    "Scaling",
    "Target",
    "add_fixup_scalars_",
    "adjust_",
    "draw",
    "find_law",
    "find_law_for",
    "fixup_",
    "initialize_",
    "modes_put_back",
    "parametrize",
    "plan",
    "register_initialization",
    "scale_branches_",
    "zero_gamma_",
]
