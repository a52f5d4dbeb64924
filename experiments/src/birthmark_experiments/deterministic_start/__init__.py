"""Could a start without chance do, and what does training keep of a start?

Deterministic rules against random ones, in pairs of equal batch orders. Then what
becomes of the null space of the first layer, of the distances between inputs, and of
the gates.
"""

from ..frame import Experiment

EXPERIMENT = Experiment(__name__, __doc__, ("mnist",))
