"""Ranks of values, and whether two quantities order the same things alike."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtr

from birthmark.shapes import Array


def rank_values(values: Array) -> Array:
    """Ranks from 1 on, in the shape of the values; ties at their mean rank.

    With a NaN among the values no rank is known.
    """
    if np.isnan(values).any():
        return np.full(values.shape, np.nan)
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(count)
    ranks: Array = (ends - (count - 1) / 2)[place].reshape(values.shape)
    return ranks


def spearman(a: Array, b: Array) -> tuple[float, float]:
    """Spearman's coefficient of numbers that vary, and p by Student's t of n - 2."""
    rho = float(np.corrcoef(rank_values(a), rank_values(b))[0, 1])
    free = len(a) - 2
    with np.errstate(divide="ignore"):
        t = abs(rho) * np.sqrt(free / np.float64((1 + rho) * (1 - rho)).clip(0))
    return rho, float(2 * stdtr(free, -t))
