"""Networks as functions over stacked weights; initial configurations; marks."""

from birthmark.network.configuration import (
    draw_weights,
    find_bounds,
    find_laws,
    find_mark,
)
from birthmark.network.dense import (
    ACTIVATIONS,
    Activation,
    dense_forward,
    forward_stack,
    gather_layers,
    name_parameters,
)
from birthmark.network.initializations import INITIALIZATIONS, find_law
from birthmark.network.laws import Law
from birthmark.network.marks import apply_mark, draw_mark
from birthmark.network.modules import stack_modules

__all__ = [
    "ACTIVATIONS",
    "INITIALIZATIONS",
    "Activation",
    "Law",
    "apply_mark",
    "dense_forward",
    "draw_mark",
    "draw_weights",
    "find_bounds",
    "find_law",
    "find_laws",
    "find_mark",
    "forward_stack",
    "gather_layers",
    "name_parameters",
    "stack_modules",
]
