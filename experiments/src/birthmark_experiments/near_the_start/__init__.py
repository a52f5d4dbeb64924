"""Are minima found only near the start?

Four tests on a network that trains well. The loss on the line from start to end and
beyond; layers of the trained network put back; training confined to a ball around the
start; training from a start that was moved by a random step as long as the way that
training goes.
"""

from ..frame import Experiment

EXPERIMENT = Experiment(__name__, __doc__, ("mnist",))
