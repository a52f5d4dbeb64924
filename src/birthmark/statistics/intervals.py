"""Means over replicas with intervals, and the difference of two means.

The interval that is stated is Student's t (Welch's for a difference). The bootstrap
over replicas (BCa: Efron, J. Am. Stat. Assoc. 82, 171, 1987) stands beside it as a
check without the normal law: of few values it covers less than it says. In 400
simulated samples of 3, 5, 10, 15 normal values the 95 % interval held the mean in 74,
87, 88, 92 % (bootstrap) and in 95, 95, 93, 95 % (Student), and of lognormal values
(sigma 0.5) in 73, 81, 89, 90 % and in 93, 92, 93, 93 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtr, ndtri, stdtr, stdtrit

from birthmark.seeds import stream
from birthmark.shapes import Array
from birthmark.statistics.sizes import unit_of

CONFIDENCE = 0.95
RESAMPLES = 2000
NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """A mean over replicas with its 95 % intervals, which are NaN for n < 2."""

    mean: float
    low: float  # Student's t
    high: float
    bootstrap_low: float
    bootstrap_high: float
    n: int  # values that are not NaN
    method: str  # how the bootstrap interval was made

    @property
    def sign(self) -> int:
        """1 or -1 where both intervals lie on one side of 0, else 0: none seen."""
        return _side(self.low, self.high, self.bootstrap_low, self.bootstrap_high)


@dataclass(frozen=True)
class Curve:
    """A mean over replicas along an axis, with its 95 % interval at each point."""

    mean: Array  # [...]
    low: Array  # [...]; NaN where n < 2
    high: Array  # [...]
    n: Array  # [...] int


@dataclass(frozen=True)
class DifferenceOfMeans:
    """The difference of two means, a - b, with two intervals and Welch's test."""

    difference: float
    low: float  # Welch's t, 95 %
    high: float
    bootstrap_low: float  # 95 %
    bootstrap_high: float
    p: float  # two-sided, Welch's t
    n_a: int
    n_b: int

    @property
    def sign(self) -> int:
        """1 or -1 where both intervals lie on one side of 0, else 0: none seen."""
        return _side(self.low, self.high, self.bootstrap_low, self.bootstrap_high)


def resample(purpose: str) -> np.random.Generator:
    """The stream of resampling for one purpose: the same intervals at every call."""
    return stream(0, 0, "bootstrap", purpose)


def summarize(values: npt.ArrayLike) -> Estimate:
    """The mean of the values that are not NaN, with Student's interval.

    The bootstrap beside it is BCa, or the percentile interval where BCa does not exist
    (a bias of one side only). Where all values are equal, both are their value.
    """
    x = _finite(values)
    if len(x) == 0:
        return Estimate(NAN, NAN, NAN, NAN, NAN, 0, "none: no value")
    unit = unit_of(x)
    x = x / unit
    mean = float(x.mean()) * unit
    if len(x) == 1:
        return Estimate(mean, NAN, NAN, NAN, NAN, 1, "none: a single value")
    if np.ptp(x) == 0:
        return Estimate(mean, mean, mean, mean, mean, len(x), "all values are equal")
    low, high, method = _bootstrap([x], "mean")
    student = summarize_curves(x)
    return Estimate(
        mean,
        float(student.low) * unit,
        float(student.high) * unit,
        low * unit,
        high * unit,
        len(x),
        method,
    )


def summarize_curves(
    values: npt.ArrayLike, scale: Literal["linear", "log"] = "linear"
) -> Curve:
    """Means over the last axis with Student's interval, in closed form.

    Args:
        values: [..., R], NaN left out.
        scale: `log` gives geometric means, for curves that are drawn on a log axis.
    """
    x = np.asarray(values, dtype=float)
    if scale == "log":
        x = np.log(np.where(x > 0, x, NAN))
    seen = np.isfinite(x)
    n = seen.sum(axis=-1)
    unit = 1.0 if scale == "log" else unit_of(x)
    x = x / unit
    filled = np.where(seen, x, 0.0)
    mean = np.where(n > 0, filled.sum(axis=-1) / np.maximum(n, 1), NAN)
    square = np.where(seen, (x - mean[..., None]) ** 2, 0.0).sum(axis=-1)
    variance = np.where(n > 1, square / np.maximum(n - 1, 1), NAN)
    factor = stdtrit(np.maximum(n - 1, 1), (1 + CONFIDENCE) / 2)
    half = factor * np.sqrt(variance / np.maximum(n, 1))

    def back(edge: Array) -> Array:
        return np.asarray(np.exp(edge) if scale == "log" else unit * edge)

    with np.errstate(over="ignore"):  # of an exploding loss the interval has no end
        return Curve(back(mean), back(mean - half), back(mean + half), n)


def compare_means(a: npt.ArrayLike, b: npt.ArrayLike) -> DifferenceOfMeans:
    """Mean of a minus mean of b: Welch's interval, and the bootstrap as the check.

    The values that are not NaN count; with fewer than two on a side, or when neither
    side scatters, intervals and p are NaN.
    """
    x, y = _finite(a), _finite(b)
    unit = unit_of([*x, *y])
    x, y = x / unit, y / unit
    difference = float(x.mean() - y.mean()) if len(x) and len(y) else NAN
    if min(len(x), len(y)) < 2 or np.ptp(x) == np.ptp(y) == 0:
        mean = difference * unit
        return DifferenceOfMeans(mean, NAN, NAN, NAN, NAN, NAN, len(x), len(y))
    of_x, of_y = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    error = np.sqrt(of_x + of_y)
    free = (of_x + of_y) ** 2 / (of_x**2 / (len(x) - 1) + of_y**2 / (len(y) - 1))
    half = float(stdtrit(free, (1 + CONFIDENCE) / 2) * error)
    p = float(2 * stdtr(free, -abs(difference) / error))
    low, high, _ = _bootstrap([x, y], "difference")
    return DifferenceOfMeans(
        difference * unit,
        (difference - half) * unit,
        (difference + half) * unit,
        low * unit,
        high * unit,
        p,
        len(x),
        len(y),
    )


def share_interval(
    count: int, n: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The exact interval of a share of n (Clopper & Pearson, Biometrika 26, 404)."""
    tail = (1 - confidence) / 2
    low = betaincinv(count, n - count + 1, tail) if count else 0.0
    high = betaincinv(count + 1, n - count, 1 - tail) if count < n else 1.0
    return float(low), float(high)


def _side(low: float, high: float, check_low: float, check_high: float) -> int:
    if low > 0 and check_low > 0:
        return 1
    return -1 if high < 0 and check_high < 0 else 0


def _finite(values: npt.ArrayLike) -> Array:
    x: Array = np.asarray(values, dtype=float).ravel()
    return np.asarray(x[np.isfinite(x)])


def _bootstrap(samples: Sequence[Array], purpose: str) -> tuple[float, float, str]:
    """The interval of a mean, or of the difference of two, as `scipy.stats.bootstrap`.

    Equations 14.9, 14.10 and 14.15 of Efron & Tibshirani, An Introduction to the
    Bootstrap, 1993; what a mean becomes without one value is known in closed form.
    """
    random = resample(purpose)
    signed = [sign * one for sign, one in zip((1, -1), samples, strict=False)]
    places = [random.integers(len(one), size=(RESAMPLES, len(one))) for one in signed]
    drawn = [one[place] for one, place in zip(signed, places, strict=True)]
    means: Array = np.sum([one.mean(axis=-1) for one in drawn], axis=0)
    found = np.sum([one.mean() for one in signed])
    pull = np.concatenate([(one - one.mean()) / len(one) for one in signed])
    skew = (pull**3).sum() / (pull**2).sum() ** 1.5 / 6
    tails = ndtri((1 + CONFIDENCE) / 2) * np.array([-1, 1])
    method, levels = "percentile", ndtr(tails)
    bias = ndtri(((means < found).mean() + (means <= found).mean()) / 2)
    if np.isfinite(bias):
        moved = bias + tails
        method, levels = "BCa", ndtr(bias + moved / (1 - skew * moved))
    low, high = map(float, np.quantile(means, levels))
    return low, high, f"bootstrap over replicas ({method}, {RESAMPLES} resamples)"
