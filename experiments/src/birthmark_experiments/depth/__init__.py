"""Which initialization lets a 30-layer ReLU network learn, and why?

What becomes of signal and gradient at the start, and who learns.
"""

from ..frame import Experiment

EXPERIMENT = Experiment(__name__, __doc__, ("mnist", "cifar10_12k"))
