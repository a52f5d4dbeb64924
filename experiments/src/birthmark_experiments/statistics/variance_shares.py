"""Shares of variance of two crossed factors: which of them matters more.

Values [A, B, R] have one level of the first factor a row, one of the second a column,
and the replicas of each cell. The sums of squares of a balanced two-way analysis of
variance (Fisher 1925) split the total into first, second, interaction and replicas.

eta^2 is what is seen; it holds what chance adds, the more the fewer the replicas are,
and has no interval here. omega^2 is without that. In 150 simulated tables of 8 x 3
cells its interval held the true share in 73 to 92 % with 5 replicas and in 92 to 95 %
with 10.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from birthmark.errors import SpecError
from birthmark.shapes import Array
from birthmark.statistics import CONFIDENCE, RESAMPLES, resample

PARTS = ("first", "second", "interaction", "replicas")


@dataclass(frozen=True)
class Share:
    """What one part accounts for, of all variance."""

    eta2: float  # of the sum of squares, in 0 ... 1; the four parts add up to 1
    # without what chance adds (Hays 1963): may be below 0; of `replicas` the rest
    omega2: float
    low: float  # of omega2, 2.5 and 97.5 % of the bootstrap over replicas
    high: float


def share_variance(values_ABR: Array) -> dict[str, Share]:
    """Shares by part, of `PARTS`.

    The bootstrap draws replicas anew, the same for all cells: replica r of each cell
    has met the same batches. Their deviations from the mean of the cell are widened by
    sqrt(r / (r - 1)), since resampling r values scatters by that too little.

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
    centre = values.mean(axis=2, keepdims=True)
    wide = centre + np.sqrt(num_replicas / (num_replicas - 1)) * (values - centre)
    drawn = random.integers(num_replicas, size=(RESAMPLES, num_replicas))
    again = np.moveaxis(wide[..., drawn], 2, 0)
    again = again[np.ptp(again, axis=(1, 2, 3)) > 0]
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(split_squares(again)[1], [tail, 100 - tail], axis=-1)
    eta2, omega2 = split_squares(values)
    return {
        part: Share(*map(float, (eta2[i], omega2[i], low[i], high[i])))
        for i, part in enumerate(PARTS)
    }


def split_squares(values: Array) -> Array:
    """eta^2 and omega^2 of each of `PARTS`, [2, 4, ...], of tables [..., A, B, R]."""
    num_a, num_b, num_r = values.shape[-3:]
    cell = values.mean(axis=-1)
    grand = cell.mean(axis=(-2, -1), keepdims=True)
    row = cell.mean(axis=-1, keepdims=True) - grand
    column = cell.mean(axis=-2, keepdims=True) - grand
    squares = np.stack(
        [
            num_b * num_r * (row**2).sum(axis=(-2, -1)),
            num_a * num_r * (column**2).sum(axis=(-2, -1)),
            num_r * ((cell - row - column - grand) ** 2).sum(axis=(-2, -1)),
            ((values - cell[..., None]) ** 2).sum(axis=(-3, -2, -1)),
        ]
    )
    error = squares[3] / (num_a * num_b * (num_r - 1))
    total = squares.sum(axis=0)
    free = (num_a - 1, num_b - 1, (num_a - 1) * (num_b - 1))
    omega = [(squares[i] - free[i] * error) / (total + error) for i in range(3)]
    return np.stack([squares / total, [*omega, 1 - sum(omega)]])
