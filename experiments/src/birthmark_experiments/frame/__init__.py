"""Questions about initialization and training, answered by measurements.

Each experiment has a protocol, a figure, a page in the docs, and records that ship with
the package. One may be carried out again, at the scale of the docs or a quick one.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .experiment import SCALES, Experiment, Facts, experiment_names, find_experiment
from .variables import coordinates, each, gather, labelled, variable, variables

if TYPE_CHECKING:
    from .cache import hash_protocol, recall
    from .running import draw_experiment, run_experiment, shipped_results

# what reads and writes results is loaded when it is asked for: a list needs none of it
_FILES = {
    "draw_experiment": "running",
    "hash_protocol": "cache",
    "recall": "cache",
    "run_experiment": "running",
    "shipped_results": "running",
}

__all__ = [
    "SCALES",
    "Experiment",
    "Facts",
    "coordinates",
    "draw_experiment",
    "each",
    "experiment_names",
    "find_experiment",
    "gather",
    "hash_protocol",
    "labelled",
    "recall",
    "run_experiment",
    "shipped_results",
    "variable",
    "variables",
]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
