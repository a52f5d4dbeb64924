"""How far a loss still falls along a step: where it is back at what it was before.

Kalra et al., arXiv 2601.16979: on a line the smallest step that no longer lowers the
loss says as much of the curvature as the sharpness does, for a few forward passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

MOST_EVALUATIONS = 9  # of the loss, that before the step included


def find_critical_step(loss_at: Callable[[float], float], guess: float = 2.0) -> float:
    """The smallest multiple of a step beyond which the loss is higher than before it.

    On a parabola with a step of lr along its gradient it is 2 / (lr * curvature), so
    that 2 / (lr * multiple) is the curvature along the step. The multiple is bracketed
    by doubling or halving from the guess, and the bracket is halved, in its logarithm,
    with the evaluations that are left: within 5 % from a guess within a factor of 2.

    Args:
        loss_at: The loss at a multiple of the step; 0 is before it.
        guess: Where to begin, best the multiple that was found before.

    Returns:
        NaN where no multiple that was tried raises the loss, or each does.
    """
    before = loss_at(0.0)
    low, high = 0.0, math.inf
    multiple = guess
    for _ in range(MOST_EVALUATIONS - 1):
        # NaN is no fall
        if loss_at(multiple) <= before:
            low = multiple
        else:
            high = multiple
        if high == math.inf:
            multiple = 2 * low
        elif low == 0.0:
            multiple = high / 2
        else:
            multiple = math.sqrt(low * high)
    return multiple if low > 0.0 and high < math.inf else math.nan
