"""Sharpness in the paper's own network: width 150, with the clip and from logits."""

from birthmark_experiments.frame import Experiment

EXPERIMENT = Experiment(
    package=__name__,
    question="Is the paper's own network beyond the edge of stability as it collapses?",
    data=("hasyv2",),
)

__all__ = ["EXPERIMENT"]
