"""How far weights have moved from their initial configuration, as named arrays.

One converter, `to_parameters`, makes of any module, state dict, mapping of arrays or
stack of ours what all functions here take. So other rooms read models in one way:

    before = to_parameters(model).clone()          # Parameters: name -> Parameter
    before["head.weight"].kind                     # head; and role, layer, layout
    key = fingerprint(before)                      # dtype, shape and bytes
    held = find_held(model, optimizer)             # held.missing, held.frozen
    measure(before, model, kind="scalars")         # dims (replica, parameter)
    start, end = align(before, to_parameters(model))   # the same names, or an error
"""

from birthmark.measurements.arrays import measure
from birthmark.measurements.bins import CURRENT_EDGES, INITIAL_EDGES
from birthmark.measurements.fingerprints import fingerprint
from birthmark.measurements.moments import in_one_unit
from birthmark.measurements.optimized import find_held
from birthmark.measurements.order import QUANTILES
from birthmark.measurements.pair import Pair
from birthmark.measurements.parameters import (
    Source,
    clean_name,
    to_parameters,
    unwrap,
)
from birthmark.measurements.path_lengths import extend_path
from birthmark.measurements.shards import merge_shards, merge_squares, to_local
from birthmark.measurements.signals import Signal
from birthmark.measurements.steps import SQUARES, Step, sum_step
from birthmark.measurements.sums import sum_up
from birthmark.measurements.table import MEASUREMENTS, register_measurement
from birthmark.measurements.tensors import align, fan_in_of, weight_beside

__all__ = [
    "MEASUREMENTS",
    "QUANTILES",
    "Pair",
    "align",
    "fingerprint",
    "measure",
    "register_measurement",
    "to_parameters",
]
