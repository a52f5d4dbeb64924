"""What was found with birthmark: one folder a question, and the paper's records."""

from birthmark_experiments.frame import (
    SCALES,
    Experiment,
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
