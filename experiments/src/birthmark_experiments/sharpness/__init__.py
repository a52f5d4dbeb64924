"""Is the untrainability regime the edge of stability of white pixels?

White pixels give every input the same large part, the mean image, along which the loss
is steep. The same networks see their pixels in three ways, at several learning rates;
the sharpness is held against 2 / lr on the way.
"""

from ..frame import Experiment

EXPERIMENT = Experiment(__name__, __doc__, ("hasyv2",))
