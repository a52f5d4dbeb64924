"""Frozen, validated descriptions of runs, and the key that names a run.

Types, ranges and unknown keys are checked here, at construction. The room that owns a
table (initializations, losses, data sets) checks its names, before any work. The
defaults are the protocol of Jesus et al., arXiv 2012.02550.
"""

from birthmark.spec.files import (
    apply_settings,
    lines_named,
    parse_setting,
    read_toml,
    resolve_files,
)
from birthmark.spec.rules import RuleSpec, make_rule, match_pattern
from birthmark.spec.run import RunSpec
from birthmark.spec.tables import (
    DataSpec,
    MarkSpec,
    NetworkSpec,
    ScheduleSpec,
    TrainingSpec,
    expand_epochs,
)

__all__ = ["RunSpec"]
