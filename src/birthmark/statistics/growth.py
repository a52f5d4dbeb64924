"""Which law the growth of a distance follows: ln t, a power of t, or neither."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from birthmark.shapes import Array

Law = Literal["log", "power", "undecided"]
DECISIVE = 10.0  # of AIC: below it the data do not tell (Burnham & Anderson 2002)
LEAST_POINTS = 6


@dataclass(frozen=True)
class Growth:
    """Two laws fitted to one curve.

    Attributes:
        law: The better one, or `undecided`.
        exponent: c of a t^c; with ln t it is meaningless.
        difference: AIC of ln t minus that of the power law: positive for the power.
        num_points: That were used.
    """

    law: Law
    exponent: float
    difference: float
    num_points: int


def compare_growth(steps: Array, distances: Array) -> Growth:
    """Fit D = a + b ln t and D = a t^c to a distance from the start, and compare.

    Random walks in a rugged landscape grow as ln t (Hoffer, Hubara & Soudry, arXiv
    1705.08741), plain diffusion as t^(1/2). Both laws are fitted by least squares to
    ln D (relative errors), with two parameters each, so their AIC differ by
    n ln(RSS_log / RSS_power). Neighbouring points of one run are not independent,
    which makes the difference too large: it is a choice between two laws, no test.

    Args:
        steps: [T]; those above 0 count. Space them by factors: a law over decades
            cannot be told from steps of one.
        distances: [T]; those that are positive and finite count.
    """
    use = (steps > 0) & (distances > 0) & np.isfinite(distances)
    t, y = np.log(steps[use].astype(float)), np.log(distances[use].astype(float))
    count = len(t)
    if count < LEAST_POINTS or np.ptp(t) < math.log(10) or np.ptp(y) == 0:
        return Growth("undecided", math.nan, math.nan, count)
    exponent, offset = np.polyfit(t, y, 1)
    of_power = float(((y - offset - exponent * t) ** 2).sum())
    of_log = _residual_of_log(t, y)
    tiny = count * np.finfo(float).eps ** 2 * float((y**2).sum() + 1)
    difference = count * math.log((of_log + tiny) / (of_power + tiny))
    law: Law = "power" if difference > 0 else "log"
    if abs(difference) < DECISIVE:
        law = "undecided"
    return Growth(law, float(exponent), difference, count)


def _residual_of_log(t: Array, y: Array) -> float:
    """Least sum of squares of y - ln(a + b t): for each b / a the best a is known."""
    from scipy.optimize import minimize_scalar

    def residual(ratio: float) -> float:
        # a (1 + r (t - t0)): positive from the first point on
        shape = np.log1p(ratio * (t - t[0]))
        return float(((y - shape - (y - shape).mean()) ** 2).sum())

    found = minimize_scalar(
        lambda log_ratio: residual(math.exp(log_ratio)),
        bounds=(-25, 25),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(found.fun)
