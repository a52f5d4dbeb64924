"""Runs, grids of runs, and the presets that have names."""

from birthmark.sweeps.cells import flatten_product
from birthmark.sweeps.comparison import Rule, candidate_specs, name_rules, parse_rule
from birthmark.sweeps.executors import Executor, Here, OnRay, Processes
from birthmark.sweeps.functions import call, sweep
from birthmark.sweeps.grid import Grid
from birthmark.sweeps.grid_runs import run_grid
from birthmark.sweeps.interrupts import Stopped
from birthmark.sweeps.model_runs import train_models
from birthmark.sweeps.models import Factory, Initialize, build_models, try_own
from birthmark.sweeps.own_parts import OwnData, OwnParts, name_function, read_own_data
from birthmark.sweeps.pipeline import RunResult, run
from birthmark.sweeps.plan import Plan, make_plan, parse_shard
from birthmark.sweeps.presets import preset, reproduction
from birthmark.sweeps.provenance import describe_software
from birthmark.sweeps.tasks import Outcome, RunTask, Standing
from birthmark.sweeps.throughput import Progress

__all__ = [
    "Grid",
    "Here",
    "OnRay",
    "Outcome",
    "Processes",
    "RunResult",
    "call",
    "preset",
    "run",
    "run_grid",
    "sweep",
]
