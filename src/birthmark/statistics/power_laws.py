"""The exponent of a fall by a power law, and how far replicas let it vary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from birthmark.shapes import Array
from birthmark.statistics.intervals import CONFIDENCE, NAN, RESAMPLES, resample

_FEWEST_FOR_INTERVAL = 3  # replicas at each n


@dataclass(frozen=True)
class PowerLaw:
    """ln D = intercept - exponent ln n, fitted by least squares over replicas."""

    exponent: float  # gamma: positive where D falls with n
    low: float  # 95 %, bootstrap over replicas at each n
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

    The interval resamples replicas at each n, with the mean's deviation widened
    by sqrt(r / (r - 1)) since resampling r values scatters by that too little. It says
    how far the replicas let the exponent vary, not whether a power law holds (see
    `r_squared`). An n with a single value is left out where at least two others
    have more. With fewer than three values at an n there is no interval (NaN): two
    resampled values know next to nothing of their scatter.

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
    low, high = _slope_interval(list(logs.values()), mean, lever)
    return PowerLaw(
        exponent=-slope,
        low=-high,
        high=-low,
        intercept=intercept,
        r_squared=float(1 - left / total) if total > 0 else NAN,
        along=tuple(logs),
        n=len(every),
    )


def _slope_interval(
    logs: list[Array], mean: Array, lever: Array
) -> tuple[float, float]:
    if min(len(y) for y in logs) < _FEWEST_FOR_INTERVAL:
        return NAN, NAN
    random = resample("power law")
    slopes = np.zeros(RESAMPLES)
    for y, centre, factor in zip(logs, mean, lever, strict=True):
        drawn = y[random.integers(len(y), size=(RESAMPLES, len(y)))].mean(axis=1)
        widen = np.sqrt(len(y) / (len(y) - 1))
        slopes += factor * (centre + widen * (drawn - centre))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(slopes, [tail, 100 - tail])
    return float(low), float(high)
