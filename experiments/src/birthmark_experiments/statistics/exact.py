"""Exact tests of few networks: a trend over ordered groups, and an order of groups.

With three replicas a group no test of two groups can reach 5 % (three against three:
p = 0.10 at best), but a trend over all groups together can.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtrc

from birthmark.shapes import Array


@dataclass(frozen=True)
class ExactTrend:
    """The Cochran-Armitage statistic, and its law when all group shares are equal."""

    statistic: float  # sum over groups of score x number of successes
    expected: float  # mean of the statistic if the shares are equal
    p: float  # two-sided: of all outcomes as far from the expected one or farther
    least_p: float  # what the most extreme outcome of these margins would give
    n: int


def exact_trend(
    scores: Sequence[float], successes: Sequence[int], totals: Sequence[int]
) -> ExactTrend:
    """Whether the share of successes goes up or down with the score of the group.

    Conditional on the number of successes in all groups together, which makes it exact
    (Agresti, *Categorical Data Analysis*, 3.5). p counts every table that lies as far
    from the expected statistic or farther.

    Args:
        scores: One a group, such as the logarithm of a setting.
        successes: In each group.
        totals: Size of each group.

    Raises:
        ValueError: A group has more successes than members.
    """
    if any(not 0 <= k <= n for k, n in zip(successes, totals, strict=True)):
        raise ValueError(f"successes {list(successes)} of {list(totals)}")
    n, k = sum(totals), sum(successes)
    mean = k * float(np.dot(scores, totals)) / n if n else math.nan
    found = float(np.dot(scores, successes))
    laws = {(0, 0.0): 1.0}  # (successes so far, statistic so far): number of tables
    for score, total in zip(scores, totals, strict=True):
        grown: dict[tuple[int, float], float] = {}
        for (so_far, value), weight in laws.items():
            for here in range(min(total, k - so_far) + 1):
                at = (so_far + here, round(value + score * here, 12))
                grown[at] = grown.get(at, 0.0) + weight * math.comb(total, here)
        laws = grown
    tables = {value: w for (so_far, value), w in laws.items() if so_far == k}
    whole, slack = sum(tables.values()), 1e-9
    far = {value: abs(value - mean) for value in tables}
    least = max(far.values(), default=0.0)

    def tail(distance: float) -> float:
        return sum(w for v, w in tables.items() if far[v] >= distance - slack) / whole

    return ExactTrend(found, mean, tail(abs(found - mean)), tail(least), n)


@dataclass(frozen=True)
class ExactOrder:
    """How well things of several kinds are sorted, against all their arrangements."""

    discordant: int  # pairs of two kinds in the wrong order
    p: float  # share of the arrangements with as few discordant pairs, or fewer
    least_p: float  # of the one that is sorted
    n: int


def exact_order(kinds: Sequence[Hashable], order: Sequence[Hashable]) -> ExactOrder:
    """Whether kinds come in an order along an axis, by all arrangements of them.

    The number of arrangements with so many discordant pairs is a coefficient of the
    Gaussian multinomial (MacMahon 1915), so none has to be listed.

    Args:
        kinds: What each place along the axis is; those not in `order` are left out.
        order: The kinds in the order that is asked about.
    """
    ranks = [order.index(kind) for kind in kinds if kind in order]
    found = sum(a > b for place, a in enumerate(ranks) for b in ranks[place + 1 :])
    law, so_far = np.array([1.0]), 0
    for rank in range(len(order)):
        count = ranks.count(rank)
        law = np.convolve(law, _gaussian_binomial(so_far + count, count))
        so_far += count
    p = float(law[: found + 1].sum() / law.sum())
    return ExactOrder(found, p, float(1 / law.sum()), len(ranks))


def _gaussian_binomial(n: int, k: int) -> Array:
    """Arrangements of k ones among n places, by their number of inversions."""
    rows = {0: np.array([1.0])}
    for place in range(1, n + 1):
        grown: dict[int, Array] = {}
        for j in range(max(0, k - n + place), min(place, k) + 1):
            one = rows.get(j - 1, np.zeros(0)) if j else np.zeros(0)
            other = rows.get(j, np.zeros(0))
            shifted = np.concatenate([np.zeros(j), other]) if other.size else other
            size = max(one.size, shifted.size)
            grown[j] = np.pad(one, (0, size - one.size)) + np.pad(
                shifted, (0, size - shifted.size)
            )
        rows = grown
    return rows[k]


def detectable_share(n: int, chance: float, alpha: float = 0.05) -> int | None:
    """The fewest of n that a one-sided binomial test tells from chance; None: none."""
    for k in range(n + 1):
        if k and bdtrc(k - 1, n, chance) <= alpha:
            return k
    return None
