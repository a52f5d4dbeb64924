"""Does a network that collapses collapse because it leaves its start?

The tests near the start, where training collapses: in the small network of the page
about abandoned examples, which learns and then loses all it learned: losses on the
lines to where it stood best and to where it ends, layers put back, training kept in
balls, and training from moved starts.
"""

from ..frame import Experiment

EXPERIMENT = Experiment(__name__, __doc__, ("hasyv2",))
