"""Is the untrainability regime the edge of stability of a white background?

White pixels give every input the same large part, the mean image, along which the loss
is steep. The same networks see their pixels in three ways, at several learning rates;
the sharpness is held against 2 / lr on the way.
"""

from birthmark_experiments.frame import Experiment

EXPERIMENT = Experiment(
    __name__,
    "Is the untrainability regime the edge of stability of white pixels?",
    ("hasyv2",),
)
