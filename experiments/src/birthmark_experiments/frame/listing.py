"""Which experiments there are; nothing is read for it but their first lines."""

from importlib import import_module

from birthmark.errors import unknown_name
from birthmark_experiments.frame.experiment import Experiment

# a folder each, in the order of the docs
_FOLDERS: tuple[str, ...] = (
    "constant_start",
    "deterministic_start",
    "pretrained_start",
    "depth",
    "critical_variance",
    "combined_goals",
    "initialization_or_optimizer",
    "abandonment",
    "rescue",
    "who_is_abandoned",
    "near_the_start",
    "near_the_start_unstable",
    "protocol_details",
    "sharpness",
    "sharpness_paper",
)


def find_experiment(name: str) -> Experiment:
    """The experiment of this name.

    Raises:
        SpecError: There is none; the message has the nearest.
    """
    if name not in experiment_names():
        raise unknown_name("experiment", name, experiment_names())
    package = f"{__package__.partition('.')[0]}.{name.replace('-', '_')}"
    experiment: Experiment = import_module(package).EXPERIMENT
    return experiment


def experiment_names() -> list[str]:
    """All names, in the order of the docs."""
    return [folder.replace("_", "-") for folder in _FOLDERS]
