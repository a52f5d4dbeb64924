"""Clips from wide to none: does the onset of abandoning follow the clip?

If networks of the paper's unstable widths end because they abandon examples, the end
must come later the further out the clip lies, and not at all without one.
"""

from birthmark_experiments.frame import Experiment

EXPERIMENT = Experiment(
    __name__,
    "Is the untrainability regime made by examples that the loss abandons?",
    ("hasyv2",),
)
