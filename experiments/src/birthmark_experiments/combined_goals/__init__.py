"""Can the goals of a good start be combined, and does that make learning faster?

What each start achieves is read by the check-up before the first step; then all are
trained in pairs under one budget.
"""

from birthmark_experiments.frame import Experiment

EXPERIMENT = Experiment(
    __name__,
    "Can the goals of a good start be combined, and does that learn faster?",
    ("mnist",),
)
