"""Thirty ReLU layers: which initialization keeps the signal, and which one learns."""

from birthmark_experiments.frame import Experiment

EXPERIMENT = Experiment(
    package=__name__,
    question="Which initialization lets a 30-layer ReLU network learn, and why?",
    data=("mnist", "cifar10_12k"),
)

__all__ = ["EXPERIMENT"]
