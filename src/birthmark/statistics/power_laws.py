"""The exponent of a fall by a power law, and how far replicas let it vary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from birthmark.shapes import Array
from birthmark.statistics.intervals import CONFIDENCE, NAN

_FEWEST_FREE = 3  # values beyond the two of the line, for an interval


@dataclass(frozen=True)
class PowerLaw:
    """ln D = intercept - exponent ln n, fitted by least squares over replicas."""

    exponent: float  # gamma: positive where D falls with n
    low: float  # 95 %, Student's t of the slope
    high: float
    intercept: float
    r_squared: float
    along: tuple[float, ...]  # the n that are in the fit
    n: int  # values

    def __call__(self, n: Array) -> Array:
        """The fitted D at these n."""
        fitted: Array = np.exp(self.intercept - self.exponent * np.log(n))
        return fitted


def fit_power_law(values: Mapping[float, Array]) -> PowerLaw | None:
    """Fit ln D = c - gamma ln n to the positive values at each n, a number above 0.

    The interval is Student's t of the slope: it holds if a power law does and replicas
    scatter by one factor at every n, and what the law leaves of the means widens it
    (see `r_squared`). An n with a single value is left out where at least two others
    have more. With fewer than five values in all, or where some n has one alone, there
    is no interval (NaN).

    Returns:
        None with fewer than two n.
    """
    logs = {n: np.log(d[np.isfinite(d) & (d > 0)]) for n, d in values.items()}
    several = sum(len(y) > 1 for y in logs.values()) > 1
    logs = {n: y for n, y in sorted(logs.items()) if len(y) > several}
    if len(logs) < 2:
        return None
    x = np.log(np.array(list(logs)))
    weight = np.array([len(y) for y in logs.values()], dtype=float)
    mean = np.array([y.mean() for y in logs.values()])
    # the slope of all values is the slope of the means, weighted by their counts
    centred = weight * (x - np.average(x, weights=weight))
    lever = centred / (centred @ x)
    slope = float(lever @ mean)
    intercept = float(
        np.average(mean, weights=weight) - slope * np.average(x, weights=weight)
    )
    every = np.concatenate(list(logs.values()))
    fitted = np.repeat(intercept + slope * x, weight.astype(int))
    total = ((every - every.mean()) ** 2).sum()
    left = ((every - fitted) ** 2).sum()
    free = len(every) - 2
    low = high = NAN
    if free >= _FEWEST_FREE and several:
        error = float(np.sqrt(left / free * (lever**2 / weight).sum()))
        half = float(stdtrit(free, (1 + CONFIDENCE) / 2)) * error
        low, high = slope - half, slope + half
    return PowerLaw(
        exponent=-slope,
        low=-high,
        high=-low,
        intercept=intercept,
        r_squared=float(1 - left / total) if total > 0 else NAN,
        along=tuple(logs),
        n=len(every),
    )
