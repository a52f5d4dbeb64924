"""How far weights have moved from their initial configuration, as named arrays."""

from birthmark.measurements.arrays import measure
from birthmark.measurements.bins import CURRENT_EDGES, INITIAL_EDGES
from birthmark.measurements.order import QUANTILES
from birthmark.measurements.pair import Pair
from birthmark.measurements.paths import extend_path
from birthmark.measurements.table import MEASUREMENTS, Measurement

__all__ = [
    "CURRENT_EDGES",
    "INITIAL_EDGES",
    "MEASUREMENTS",
    "QUANTILES",
    "Measurement",
    "Pair",
    "extend_path",
    "measure",
]
