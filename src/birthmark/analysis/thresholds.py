"""Where the lines are drawn: every threshold of the analysis, with its meaning."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from birthmark.errors import SpecError


def _threshold(default: float, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Thresholds:
    """The tunable lines between regimes, learners, and what counts as a jump.

    Levels of the loss are shares of the loss of chance, so that one set serves data of
    10 and of 369 classes. The defaults separate the widths of Jesus et al. (2012.02550,
    Figure 2: minimum train loss 0.70 at width 50, weak; 0.42 at 100, unstable; 0.015
    at 300 and wider, strong; the loss of chance is ln 369 = 5.91).

    Raises:
        SpecError: A threshold is not a finite number above 0, or `strong` lies above
            `reached`.
    """

    strong: float = _threshold(
        0.01, "a strong learner ends below this share of the loss of chance"
    )
    reached: float = _threshold(
        0.1,
        "a train loss below this share of the loss of chance has been learned "
        "(high trainability); a jump of the loss counts when it ends above",
    )
    divergence: float = _threshold(
        0.9, "diverged: at this share of the plateau of the clipped train loss"
    )
    loss_jump: float = _threshold(
        0.4, "a jump of the loss: ln L rises by this more than its trend in a window"
    )
    deviation_jump: float = _threshold(
        0.1, "a jump of the deviation: ln D rises by this more than its trend"
    )
    window: float = _threshold(
        0.02, "the window of a jump, as a share of the epochs (never below 4 epochs)"
    )
    still_falling: float = _threshold(
        0.02, "a minimum in this last share of the epochs is no minimum yet"
    )
    rise: float = _threshold(
        2.0, "untrainability: the train loss ends at this multiple of its minimum"
    )

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not (math.isfinite(value) and value > 0):
                raise SpecError(
                    f"threshold {one.name}: must be a number above 0, got {value!r}"
                )
        if self.strong > self.reached:
            raise SpecError(
                f"threshold strong: must not lie above reached ({self.reached}), "
                f"got {self.strong}"
            )

    def rows(self) -> list[tuple[str, float, str]]:
        """Name, value and meaning of each threshold, for print."""
        return [
            (one.name, getattr(self, one.name), one.metadata["meaning"])
            for one in fields(self)
        ]

    def losses(self, chance: float) -> tuple[float, float]:
        """The train losses at which a network is strong, and at which it has learned.

        Args:
            chance: The loss of chance.
        """
        return self.strong * chance, self.reached * chance

    def window_epochs(self, last_epoch: int) -> int:
        """The window of a jump in epochs; 20 of 1000."""
        return max(4, round(self.window * last_epoch))
