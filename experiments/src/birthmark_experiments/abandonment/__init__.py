"""Is the untrainability regime made by examples that the loss abandons?

The clip is moved from wide to none. If networks of the paper's unstable widths end
because they abandon examples, the end must come later the further out the clip lies,
and not at all without one.
"""

from ..frame import Experiment

EXPERIMENT = Experiment(__name__, __doc__, ("hasyv2",))
