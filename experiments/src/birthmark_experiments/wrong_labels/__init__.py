"""Do the examples that a network abandons first make its collapse?

The paper's unstable network of width 150 is trained without the few examples that all
its replicas have below the clip early on, and go on having: wrong labels and scribbles.
"""

from ..frame import Experiment

EXPERIMENT = Experiment(__name__, __doc__, ("hasyv2",))
