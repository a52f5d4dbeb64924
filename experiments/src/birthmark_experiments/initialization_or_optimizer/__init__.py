"""Initialization or optimizer: which of the two decides how quickly a network learns?

Eight starts are trained by three optimizers, each at the learning rate that a small
search on another seed has found for it.
"""

from birthmark_experiments.frame import Experiment

EXPERIMENT = Experiment(
    __name__,
    "Which decides how quickly a network learns: initialization or optimizer?",
    ("mnist",),
)
