"""Rank correlations of two quantities over candidates, with bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from birthmark.shapes import Array
from birthmark.statistics import CONFIDENCE, NAN, RESAMPLES, resample

_FEWEST = 4  # of fewer candidates, resamples are mostly ties


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's and Kendall's coefficient, in -1 ... 1, with their intervals."""

    rho: float  # Spearman, ties at their mean rank
    rho_low: float
    rho_high: float
    tau: float  # Kendall's tau-b, which makes up for ties
    tau_low: float
    tau_high: float
    n: int  # candidates in which both are numbers
    confidence: float  # of both intervals

    @property
    def sign(self) -> int:
        """1 or -1 where both intervals lie on one side of 0, else 0: none seen."""
        if self.rho_low > 0 and self.tau_low > 0:
            return 1
        return -1 if self.rho_high < 0 and self.tau_high < 0 else 0


def correlate_ranks(
    x: npt.ArrayLike, y: npt.ArrayLike, *, confidence: float = CONFIDENCE
) -> RankCorrelation:
    """How far two quantities order the same candidates alike.

    The interval is the percentile interval of the bootstrap over candidates: how much
    the choice of candidates matters. Resamples in which one quantity is constant have
    no coefficient and are left out. Coefficients are NaN where one quantity is constant
    or there are fewer than 4 candidates.

    Args:
        x: One value a candidate; pairs with NaN are left out.
        y: Likewise.
        confidence: Of the intervals; for m correlations side by side 1 - 0.05 / m
            keeps them all at 95 % together (Bonferroni).
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    n = len(a)
    if n < _FEWEST or not (np.ptp(a) and np.ptp(b)):
        return RankCorrelation(NAN, NAN, NAN, NAN, NAN, NAN, n, confidence)
    random = resample("rank correlation")
    drawn = [random.integers(n, size=n) for _ in range(RESAMPLES)]
    count_RN = np.array([np.bincount(one, minlength=n) for one in drawn], dtype=float)
    found = _coefficients(a, b, count_RN)
    tail = 50 * (1 - confidence)
    (rho_low, tau_low), (rho_high, tau_high) = np.percentile(
        found, [tail, 100 - tail], axis=0
    )
    ((rho, tau),) = _coefficients(a, b, np.ones((1, n)))
    return RankCorrelation(
        float(rho),
        float(rho_low),
        float(rho_high),
        float(tau),
        float(tau_low),
        float(tau_high),
        n,
        confidence,
    )


def _coefficients(a_N: Array, b_N: Array, count_RN: Array) -> Array:
    """Spearman's and Kendall's, of what was drawn so often, [R, 2].

    Both follow from the signs of all differences: summed over the drawn ones they are
    twice a rank (ties at their mean) about the middle, and their products, in which
    ties count as 0, are the pairs of tau-b. Where one quantity is constant there is no
    row.
    """
    a_NN, b_NN = np.sign(a_N[:, None] - a_N), np.sign(b_N[:, None] - b_N)

    def pairs(sign_NN: Array) -> Array:
        total_R: Array = ((count_RN @ sign_NN) * count_RN).sum(axis=1)
        return total_R

    a_R, b_R = pairs(a_NN**2), pairs(b_NN**2)
    known = (a_R > 0) & (b_R > 0)
    tau = pairs(a_NN * b_NN)[known] / np.sqrt(a_R * b_R)[known]
    count = count_RN[known]
    rank_a, rank_b = (count @ one.T for one in (a_NN, b_NN))
    square_a, square_b, product = (
        (count * one).sum(axis=1) for one in (rank_a**2, rank_b**2, rank_a * rank_b)
    )
    return np.stack([product / np.sqrt(square_a * square_b), tau], axis=1)
