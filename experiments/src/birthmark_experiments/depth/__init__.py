"""Thirty ReLU layers: which initialization keeps the signal, and which one learns."""

from birthmark_experiments.frame import Experiment

EXPERIMENT = Experiment(
    __name__,
    "Which initialization lets a 30-layer ReLU network learn, and why?",
    ("mnist", "cifar10_12k"),
)
