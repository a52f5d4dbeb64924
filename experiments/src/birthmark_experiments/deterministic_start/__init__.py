"""Could a start without chance do? And what training keeps of a start.

Deterministic rules against random ones, in pairs of equal batch orders. Then what
becomes of the null space of the first layer, of the distances between inputs, and of
the gates.
"""

from birthmark_experiments.frame import Experiment

EXPERIMENT = Experiment(
    __name__,
    "Could a start without chance do, and what does training keep of a start?",
    ("mnist",),
)
