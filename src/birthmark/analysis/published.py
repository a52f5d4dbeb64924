"""What Jesus et al. (arXiv 2012.02550) published, in numbers: Figures 2c and 2d.

Read off the figures by eye. No table of them was published, and no code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from birthmark.spec import RunSpec

READING_ERROR = 0.05  # of a value
REPLICAS = 10  # that each published mean is over
EPOCHS = 1000  # that each network was trained
BEYOND = math.inf  # an epoch that was not reached within these
NONE = math.nan  # not there, or not drawn

QUANTITIES = {
    "min_train_epoch": "epoch of the minimum train loss",
    "min_test_epoch": "epoch of the minimum test loss",
    "divergence_epoch": "epoch of divergence",
    "min_train_loss": "minimum train loss",
    "min_test_loss": "minimum test loss",
}


@dataclass(frozen=True)
class Published:
    """The means over ten replicas of one width on HASYv2."""

    width: int
    min_train_epoch: float  # Figure 2c, as the two below
    min_test_epoch: float
    divergence_epoch: float
    min_train_loss: float  # Figure 2d, as the one below
    min_test_loss: float

    def error(self, name: str) -> float:
        """The error of a value: 5 % of reading, or the half error bar if longer."""
        value = float(getattr(self, name))
        bar = _BARS.get((self.width, name), 0.0)
        return max(READING_ERROR * value, bar) if math.isfinite(value) else NONE


# where error bars are long enough to be read
_BARS = {(275, "min_train_epoch"): 115.0, (275, "divergence_epoch"): 110.0}

FIGURE_2 = tuple(
    Published(*row)
    for row in (
        (10, BEYOND, BEYOND, NONE, 2.22, 2.05),
        (50, BEYOND, 85, NONE, 0.70, 1.08),
        (100, 320, 30, 1000, 0.42, 0.98),
        (150, 165, 25, 425, 0.30, 0.94),
        (200, 140, 20, 370, 0.19, 0.90),
        (225, 130, 20, 330, 0.16, 0.88),
        (250, 130, 20, 330, 0.12, 0.88),
        (275, 445, 18, 660, 0.015, 0.87),
        (300, 880, 18, BEYOND, 0.015, 0.87),
        (350, NONE, 17, NONE, 0.015, 0.86),
        (400, NONE, 17, NONE, 0.015, 0.85),
        (450, NONE, 16, NONE, 0.015, 0.845),
        (500, NONE, 16, NONE, 0.015, 0.84),
    )
)

# Figure 1b, width 256: one network
FIGURE_1B = {"width": 256, "jump": 260, "rise": 300, "plateau": 490, "level": 16.0}


def follows_paper(spec: RunSpec) -> bool:
    """Whether a run has the protocol of Figure 2; a mark makes no difference to it."""
    paper = RunSpec(data={"name": "hasyv2"})
    widths = spec.network.widths
    return (
        all(
            getattr(spec, table) == getattr(paper, table)
            for table in ("data", "initialization", "training")
        )
        and spec.network.activation == paper.network.activation
        and len(widths) == 2
        and widths[0] == widths[1]
    )
