"""Times of events that some never meet: what can be said of them without a guess.

The mean of the times that were seen leaves out those that would have come later, and
so is too early. The product-limit estimate (Kaplan & Meier, J. Am. Stat. Assoc. 53,
457, 1958) counts them for as long as they were watched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Survival:
    """When an event comes, of networks of which some were watched in vain."""

    median: float  # inf: fewer than half met it before the watch ended
    mean_until: float  # area under the curve to `until`: the restricted mean
    until: float  # the end of the watch
    seen: int
    n: int


def estimate_survival(times: npt.ArrayLike, until: float) -> Survival:
    """The product-limit estimate where everything is watched to the same time.

    Args:
        times: Of the events; NaN or more than `until` where none was seen.
        until: The end of the watch.
    """
    x = np.asarray(times, dtype=float)
    seen = np.sort(x[np.isfinite(x) & (x <= until)])
    n = len(x)
    if not n:
        return Survival(math.nan, math.nan, until, 0, 0)
    # all are at risk until their event or the end: the estimate is the share left
    half = math.ceil(n / 2)
    median = float(seen[half - 1]) if len(seen) >= half else math.inf
    mean = float((seen.sum() + (n - len(seen)) * until) / n)
    return Survival(median, mean, until, len(seen), n)
