"""Does a network collapse without the examples that it would abandon first?

The small network that collapses by abandoning is trained without those examples that
are hardest for it long before, and without as many that are drawn at random.
"""

from ..frame import Experiment

EXPERIMENT = Experiment(__name__, __doc__, ("hasyv2",))
