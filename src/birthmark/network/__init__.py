"""Networks as functions over stacked weights; initial configurations; marks.

Tables of rules, laws, residual branches and parametrizations are promised to users
(the page "Python" of the reference); the rest serves the other rooms.
"""

from birthmark.network.chain import Chain
from birthmark.network.configuration import (
    batch_examples,
    draw_weights,
    find_bounds,
    find_laws,
    find_mark,
    to_matrix,
)
from birthmark.network.dense import (
    ACTIVATIONS,
    forward_stack,
    gather_layers,
    name_parameters,
)
from birthmark.network.forward import Forward, make_forward
from birthmark.network.initializations import (
    ALIASES,
    DATA_DEPENDENT,
    INITIALIZATIONS,
    PARAMETRIZATIONS,
    FixupLayer,
    Initializer,
    ScaledBranch,
    Scaling,
    Target,
    add_fixup_scalars_,
    draw,
    find_law,
    find_law_for,
    fixup_,
    initialize_,
    modes_put_back,
    parametrize,
    register_initialization,
    scale_branches_,
    zero_gamma_,
)
from birthmark.network.laws import Law
from birthmark.network.parametrized import (
    find_lr_factors,
    find_scalings,
    is_parametrized,
    scale_forward,
)
from birthmark.network.sequential import stack_modules, to_module

__all__ = [
    "ALIASES",
    "DATA_DEPENDENT",
    "INITIALIZATIONS",
    "PARAMETRIZATIONS",
    "FixupLayer",
    "Initializer",
    "Law",
    "ScaledBranch",
    "Scaling",
    "Target",
    "add_fixup_scalars_",
    "draw",
    "fixup_",
    "initialize_",
    "parametrize",
    "register_initialization",
    "scale_branches_",
    "zero_gamma_",
]
