"""Is a pre-trained network an initialization?

Raghu et al. (arXiv 1902.07208) found that a part of what a pre-trained start gives is
the scale of its weights. So three starts have its statistics without its knowledge:
weights drawn anew with its mean and variance, its weights in random places, and a
random start.
"""

from ..frame import Experiment

EXPERIMENT = Experiment(__name__, __doc__, ("mnist", "fashion_mnist", "hasyv2"))
