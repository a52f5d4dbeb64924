"""Why does the variance of the weights decide how deep a network can be?

It is swept through its critical value: signals of random deep networks against mean-
field theory, and which depths such networks can be trained at.
"""

from ..frame import Experiment

EXPERIMENT = Experiment(__name__, __doc__, ("mnist",))
