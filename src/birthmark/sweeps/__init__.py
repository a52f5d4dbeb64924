"""Runs, grids of runs, and the presets that have names."""

from birthmark.sweeps.grid import Grid
from birthmark.sweeps.pipeline import Progress, RunResult, carry_out, run
from birthmark.sweeps.presets import preset, reproduction
from birthmark.sweeps.sweep import run_grid

__all__ = [
    "Grid",
    "Progress",
    "RunResult",
    "carry_out",
    "preset",
    "reproduction",
    "run",
    "run_grid",
]
