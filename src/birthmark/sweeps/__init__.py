"""Runs, grids of runs, and the presets that have names."""

from birthmark.sweeps.comparison import (
    Rule,
    entrant_specs,
    name_rule,
    name_rules,
    parse_rule,
)
from birthmark.sweeps.grid import Grid
from birthmark.sweeps.models import AS_BUILT, Factory, build_models, train_models
from birthmark.sweeps.pace import Progress
from birthmark.sweeps.pipeline import RunResult, run
from birthmark.sweeps.presets import preset, reproduction
from birthmark.sweeps.provenance import describe_software
from birthmark.sweeps.sweep import run_grid

__all__ = [
    "AS_BUILT",
    "Factory",
    "Grid",
    "Progress",
    "Rule",
    "RunResult",
    "build_models",
    "describe_software",
    "entrant_specs",
    "name_rule",
    "name_rules",
    "parse_rule",
    "preset",
    "reproduction",
    "run",
    "run_grid",
    "train_models",
]
