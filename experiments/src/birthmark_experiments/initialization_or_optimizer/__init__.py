"""Which decides how quickly a network learns: initialization or optimizer?

Eight starts are trained by three optimizers, each at the learning rate that a small
search on another seed has found for it.
"""

from ..frame import Experiment

EXPERIMENT = Experiment(__name__, __doc__, ("mnist",))
