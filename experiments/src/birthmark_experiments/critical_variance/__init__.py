"""The variance of the weights, swept through its critical value.

Signals of random deep networks against mean-field theory (`mean_field`), and which
depths such networks can be trained at.
"""

from birthmark_experiments.frame import Experiment

EXPERIMENT = Experiment(
    __name__,
    "Why does the variance of the weights decide how deep a network can be?",
    ("mnist",),
)
