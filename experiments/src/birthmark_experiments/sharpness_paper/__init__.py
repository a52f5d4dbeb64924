"""Sharpness in the paper's own network: width 150, with the clip and from logits."""

from birthmark_experiments.frame import Experiment

EXPERIMENT = Experiment(
    __name__,
    "Is the paper's own network beyond the edge of stability as it collapses?",
    ("hasyv2",),
)
