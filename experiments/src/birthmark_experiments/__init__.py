"""What was found with birthmark: one folder a question, and the paper's records."""

from typing import TYPE_CHECKING, Any

from . import frame
from .frame import SCALES, Experiment, experiment_names, find_experiment

if TYPE_CHECKING:
    from .frame import draw_experiment, run_experiment, shipped_results
    from .pages import say_answer

__all__ = [
    "SCALES",
    "Experiment",
    "draw_experiment",
    "experiment_names",
    "find_experiment",
    "run_experiment",
    "say_answer",
    "shipped_results",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "say_answer":
        from .pages import say_answer

        return say_answer
    return getattr(frame, name)
