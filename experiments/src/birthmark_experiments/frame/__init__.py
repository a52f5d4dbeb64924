"""Questions about initialization and training, answered by measurements.

Each experiment has a protocol, a figure, a page in the docs, and records that ship with
the package. One may be carried out again, at the scale of the docs or a quick one.
"""

from birthmark_experiments.frame.experiment import Experiment
from birthmark_experiments.frame.running import (
    SCALES,
    draw_experiment,
    experiment_names,
    find_experiment,
    run_experiment,
    shipped_results,
)

__all__ = [
    "SCALES",
    "Experiment",
    "draw_experiment",
    "experiment_names",
    "find_experiment",
    "run_experiment",
    "shipped_results",
]
