"""Differences between candidates that were trained in pairs, and how sure they are.

Replica r of each candidate has met the same batches in the same order, so they are
compared replica by replica: Student's t of the differences. No two pairs share an
estimate of scatter: a candidate that never learns scatters not at all, another much,
and a pooled error (Tukey's) would call the second different too often. Over all pairs
of one outcome the family-wise error is held by Holm's step-down procedure (Scand. J.
Stat. 6, 65, 1979), which asks nothing about how the pairs depend on each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from birthmark.shapes import Array
from birthmark.statistics.intervals import summarize
from birthmark.statistics.sizes import unit_of

ALPHA = 0.05  # family-wise, over all pairs of one outcome
POWER = 0.8
_NOISE = 1e-12  # of the values: what differs by less differs by rounding


@dataclass(frozen=True)
class PairedDifference:
    """The mean of a - b over the replicas that both have, and what is known of it."""

    a: str
    b: str
    difference: float
    low: float  # 95 %, of this pair alone; NaN where the differences do not scatter
    high: float
    wide_low: float  # 95 % for all pairs of the outcome together (Bonferroni)
    wide_high: float
    p: float  # two-sided
    p_holm: float
    n: int  # pairs of replicas
    detectable: float  # the difference that would be seen with a power of 80 %

    @property
    def is_distinguished(self) -> bool:
        """Whether a difference is seen at a family-wise error of 5 %."""
        return self.p_holm <= ALPHA


def compare_pairs(names: Sequence[str], values_AR: Array) -> list[PairedDifference]:
    """All pairs of candidates, in the order of `itertools.combinations`.

    Where all differences of a pair are one number, t does not exist: p is that of the
    exact sign test, 2^(1 - n), or 1 where the number is 0. A pair with fewer than two
    common values has p = 1.

    Args:
        names: Of the candidates, A.
        values_AR: One value a replica; NaN where there is none.
    """
    pairs = list(combinations(range(len(names)), 2))
    found = [_Differences.of(values_AR[i], values_AR[j], len(pairs)) for i, j in pairs]
    adjusted = holm([one.p for one in found])
    return [
        PairedDifference(
            names[i],
            names[j],
            one.mean,
            *one.interval(ALPHA),
            *one.interval(ALPHA / len(pairs)),
            one.p,
            float(p_holm),
            one.n,
            one.detectable,
        )
        for (i, j), one, p_holm in zip(pairs, found, adjusted, strict=True)
    ]


def holm(p: npt.ArrayLike) -> Array:
    """Adjusted p-values (Holm 1979): the family-wise level at which each is rejected.

    The smallest is multiplied by the number of tests, the next by one less, and so on;
    none is smaller than one before it, or larger than 1.
    """
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, kind="stable")
    steps = p[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty_like(steps)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


@lru_cache(maxsize=256)
def detectable_effect(n: int, alpha: float, power: float = POWER) -> float:
    """The mean, in standard deviations, that n values show with this power.

    By Student's two-sided test at this level; the noncentral t law (Cohen 1988, ch. 2).
    """
    from scipy.optimize import brentq
    from scipy.stats import nct  # a second of imports, of comparisons alone

    critical = -stdtrit(n - 1, alpha / 2)

    def lacking(effect: float) -> float:
        shift = effect * np.sqrt(n)
        return float(nct.sf(critical, n - 1, shift)) - power

    return float(brentq(lacking, 0, 10 * critical / np.sqrt(n)))


@dataclass(frozen=True)
class _Differences:
    """What the differences of one pair give."""

    mean: float
    std: float
    n: int
    p: float
    num_pairs: int

    @classmethod
    def of(cls, a_R: Array, b_R: Array, num_pairs: int) -> _Differences:
        both = np.isfinite(a_R) & np.isfinite(b_R)
        unit = unit_of([a_R[both], b_R[both]])
        a_R, b_R = a_R[both] / unit, b_R[both] / unit
        d, size = a_R - b_R, np.abs([a_R, b_R])
        n = len(d)
        mean = float(d.mean()) if n else float("nan")
        if n < 2:
            return cls(mean * unit, float("nan"), n, 1.0, num_pairs)
        std = float(d.std(ddof=1))
        rounding = _NOISE * size.max()
        if std <= rounding:
            p = 1.0 if abs(mean) <= rounding else 2.0 ** (1 - n)
            return cls(mean * unit, 0.0, n, p, num_pairs)
        p = float(2 * stdtr(n - 1, -abs(mean) / std * np.sqrt(n)))
        return cls(mean * unit, std * unit, n, p, num_pairs)

    def interval(self, alpha: float) -> tuple[float, float]:
        if not self.std > 0:
            return float("nan"), float("nan")
        half = float(-stdtrit(self.n - 1, alpha / 2)) * self.std / np.sqrt(self.n)
        return self.mean - half, self.mean + half

    @property
    def detectable(self) -> float:
        if not self.std > 0:
            return float("nan")
        return self.std * detectable_effect(self.n, ALPHA / self.num_pairs)


Key = TypeVar("Key")


def interval(values: npt.ArrayLike) -> dict[str, float]:
    """Mean over replicas with Student's 95 % interval; NaN is left out."""
    found = summarize(np.ravel(np.asarray(values)))
    return {"mean": found.mean, "low": found.low, "high": found.high}


def interval_and_count(values: npt.ArrayLike) -> dict[str, float]:
    """The `interval`, and n: over how many replicas that have a value."""
    return {**interval(values), "n": int(np.isfinite(values).sum())}


def describe_differences(
    values: Mapping[Key, npt.ArrayLike], reference: npt.ArrayLike
) -> dict[Key, dict[str, float]]:
    """Of each from a reference, paired by replica; p by Holm over all of them."""
    pairs = [
        compare_pairs(["a", "b"], np.stack([np.asarray(one), np.asarray(reference)]))[0]
        for one in values.values()
    ]
    adjusted = holm([pair.p for pair in pairs])
    return {
        key: describe_pair(pair, p)
        for key, pair, p in zip(values, pairs, adjusted, strict=True)
    }


def describe_pair(pair: PairedDifference, p: float | None = None) -> dict[str, float]:
    """The difference a - b of a pair, its own interval, and p: adjusted where given."""
    return {
        "mean": float(pair.difference),
        "low": float(pair.low),
        "high": float(pair.high),
        "p": float(pair.p if p is None else p),
    }
