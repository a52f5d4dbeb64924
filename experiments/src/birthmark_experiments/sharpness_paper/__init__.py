"""Is the paper's own network beyond the edge of stability as it collapses?

Width 150, with the clip and from logits.
"""

from ..frame import Experiment

EXPERIMENT = Experiment(__name__, __doc__, ("hasyv2",))
