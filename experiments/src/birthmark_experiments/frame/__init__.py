"""Questions about initialization and training, answered by measurements.

Each experiment has a protocol, a figure, a page in the docs, and records that ship with
the package. One may be carried out again, at the scale of the docs or a quick one.
"""

from birthmark_experiments.frame.cache import hash_protocol, recall
from birthmark_experiments.frame.experiment import (
    SCALES,
    Experiment,
    Facts,
)
from birthmark_experiments.frame.running import (
    draw_experiment,
    experiment_names,
    find_experiment,
    run_experiment,
    shipped_results,
)
from birthmark_experiments.frame.variables import labelled, variables

__all__ = [
    "SCALES",
    "Experiment",
    "Facts",
    "draw_experiment",
    "experiment_names",
    "find_experiment",
    "hash_protocol",
    "labelled",
    "recall",
    "run_experiment",
    "shipped_results",
    "variables",
]
