"""Can the goals of a good start be combined, and does that learn faster?

What each start achieves is read by the check-up before the first step; then all are
trained in pairs under one budget.
"""

from ..frame import Experiment

EXPERIMENT = Experiment(__name__, __doc__, ("mnist",))
