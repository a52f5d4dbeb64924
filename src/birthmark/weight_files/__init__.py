"""Two checkpoints and more compared, slice by slice, in memory that does not grow."""

from birthmark.weight_files.comparing import diff
from birthmark.weight_files.diffs import Diff
from birthmark.weight_files.opening import open_weights
from birthmark.weight_files.partings import Parting, find_checkpoints, is_run, part
from birthmark.weight_files.trajectories import Trajectory, follow

__all__ = ["Diff", "Parting", "Trajectory", "diff", "follow", "part"]
