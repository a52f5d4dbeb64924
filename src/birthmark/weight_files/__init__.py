"""Two checkpoints and more compared, slice by slice, in memory that does not grow."""

from birthmark.weight_files.comparing import diff
from birthmark.weight_files.diffs import Diff, Side, Total, Verdict
from birthmark.weight_files.opening import open_weights
from birthmark.weight_files.readings import Reading, TensorDiff
from birthmark.weight_files.stored import StoredTensor, WeightFile

__all__ = [
    "Diff",
    "Reading",
    "Side",
    "StoredTensor",
    "TensorDiff",
    "Total",
    "Verdict",
    "WeightFile",
    "diff",
    "open_weights",
]
