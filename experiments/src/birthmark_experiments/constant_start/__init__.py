"""Why start from random weights, and not from 0.5 everywhere?

Units of a layer with equal weights in and out get equal gradients, and stay equal for
ever (Blumenfeld et al., arXiv 2007.01038): the network is one of width 1, whatever its
width. What it learns, what sets its units apart, and where it ends is measured here.
"""

from ..frame import Experiment

EXPERIMENT = Experiment(__name__, __doc__, ("mnist",))
