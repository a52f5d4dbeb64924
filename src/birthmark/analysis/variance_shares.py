"""Shares of variance of two crossed factors: which of them matters more.

Values [A, B, R] have one level of the first factor a row, one of the second a column,
and the replicas of each cell. The sums of squares of a balanced two-way analysis of
variance (Fisher 1925) split the total into first, second, interaction and replicas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from birthmark.analysis.intervals import CONFIDENCE, RESAMPLES, resample
from birthmark.errors import SpecError
from birthmark.shapes import Array

PARTS = ("first", "second", "interaction", "replicas")


@dataclass(frozen=True)
class Share:
    """What one part accounts for, of all variance."""

    eta2: float  # of the sum of squares, in 0 ... 1; the four parts add up to 1
    low: float  # 95 %, bootstrap over replicas; covers less than it says for few
    high: float
    # without what chance alone adds (Hays 1963): may be below 0; of `replicas` what
    # the others leave
    omega2: float
    omega2_low: float
    omega2_high: float


def share_variance(values_ABR: Array) -> dict[str, Share]:
    """Shares by part, of `PARTS`.

    The bootstrap draws replicas anew, the same for all cells: replica r of each cell
    has met the same batches.

    Args:
        values_ABR: All finite; at least two of each.

    Raises:
        SpecError: Fewer, values that are not finite, or all of them equal.
    """
    values = np.asarray(values_ABR, dtype=float)
    if values.ndim != 3 or min(values.shape) < 2:
        raise SpecError(
            "shares of variance need 2 levels of both factors and 2 replicas at least, "
            f"got the shape {list(values.shape)}"
        )
    if not np.isfinite(values).all() or not np.ptp(values):
        raise SpecError(
            "shares of variance need finite values that are not all the same"
        )
    random = resample("variance shares")
    num_replicas = values.shape[-1]
    drawn = []
    for _ in range(RESAMPLES):
        again = values[..., random.integers(num_replicas, size=num_replicas)]
        if np.ptp(again):
            drawn.append(split_squares(again))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(np.array(drawn), [tail, 100 - tail], axis=0)
    eta2, omega2 = split_squares(values)
    return {
        part: Share(eta2[i], low[0, i], high[0, i], omega2[i], low[1, i], high[1, i])
        for i, part in enumerate(PARTS)
    }


def split_squares(values_ABR: Array) -> Array:
    """eta^2 and omega^2 of each of `PARTS`, [2, 4]."""
    num_a, num_b, num_r = values_ABR.shape
    cell_AB = values_ABR.mean(axis=2)
    a_A, b_B, grand = cell_AB.mean(axis=1), cell_AB.mean(axis=0), cell_AB.mean()
    crossed_AB = cell_AB - a_A[:, None] - b_B + grand
    squares = np.array(
        [
            num_b * num_r * ((a_A - grand) ** 2).sum(),
            num_a * num_r * ((b_B - grand) ** 2).sum(),
            num_r * (crossed_AB**2).sum(),
            ((values_ABR - cell_AB[..., None]) ** 2).sum(),
        ]
    )
    free = np.array([num_a - 1, num_b - 1, (num_a - 1) * (num_b - 1)])
    error = squares[3] / (num_a * num_b * (num_r - 1))
    total = squares.sum()
    omega = (squares[:3] - free * error) / (total + error)
    return np.array([squares / total, [*omega, 1 - omega.sum()]])
