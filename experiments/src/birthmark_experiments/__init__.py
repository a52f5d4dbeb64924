"""What was found with birthmark: one folder a question, and the paper's records."""

from typing import TYPE_CHECKING, Any

from birthmark_experiments import frame
from birthmark_experiments.frame import (
    SCALES,
    Experiment,
    experiment_names,
    find_experiment,
)

if TYPE_CHECKING:
    from birthmark_experiments.frame import (
        draw_experiment,
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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(frame, name)
