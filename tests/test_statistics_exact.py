"""Exact tests and survival estimates against brute force and published values."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from birthmark_experiments.statistics import (
    detectable_share,
    estimate_survival,
    exact_order,
    exact_trend,
)


def test_a_trend_of_two_groups_is_fishers_exact_test():
    """Three against three can say 0.10 at best, whatever was seen."""
    for a, b in ((3, 0), (2, 1), (3, 3), (1, 3)):
        found = exact_trend([0, 1], [a, b], [3, 3])
        due = stats.fisher_exact([[a, 3 - a], [b, 3 - b]]).pvalue
        assert found.p == pytest.approx(due)
    assert exact_trend([0, 1], [0, 3], [3, 3]).p == pytest.approx(0.1)
    assert exact_trend([0, 1], [0, 3], [3, 3]).least_p == pytest.approx(0.1)


def test_a_trend_over_several_groups_counts_all_tables():
    scores, hits, totals = [0.0, 1.0, 2.5], [0, 1, 3], [1, 3, 3]
    found = exact_trend(scores, hits, totals)
    each = np.repeat(scores, totals)
    sums = [sum(c) for c in itertools.combinations(each, sum(hits))]
    mean, seen = np.mean(sums), np.dot(scores, hits)
    due = np.mean(np.abs(np.array(sums) - mean) >= abs(seen - mean) - 1e-9)
    assert found.p == pytest.approx(due)
    assert found.expected == pytest.approx(mean)
    # without a trend nothing is found, and impossible counts are refused
    assert exact_trend([0, 1, 2], [1, 1, 1], [2, 2, 2]).p == 1
    with pytest.raises(ValueError, match="successes"):
        exact_trend([0, 1], [4, 0], [3, 3])


@pytest.mark.parametrize("kinds", ["aabbcc", "abacbc", "ccbbaa", "abcab"])
def test_an_order_of_kinds_is_held_against_all_arrangements(kinds):
    def discordant(row):
        return sum(x > y for i, x in enumerate(row) for y in row[i + 1 :])

    counts = [discordant(row) for row in set(itertools.permutations(kinds))]
    found = exact_order([*kinds, "left out"], "abc")
    assert found.discordant == discordant(kinds)
    assert found.p == pytest.approx(np.mean(np.array(counts) <= discordant(kinds)))
    assert found.least_p == pytest.approx(1 / len(counts))


def test_the_fewest_that_tell_from_chance():
    assert detectable_share(4, 0.5) is None  # four of four: 1/16
    assert detectable_share(5, 0.5) == 5
    assert detectable_share(10, 0.5) == 9


def test_survival_counts_those_that_were_watched_in_vain():
    found = estimate_survival([100.0, 300.0, math.nan], 1000)
    assert (found.median, found.seen, found.n) == (300, 2, 3)
    assert found.mean_until == pytest.approx((100 + 300 + 1000) / 3)
    # the mean of what was seen, 200, would be too early
    late = estimate_survival([990.0, math.nan, 2000.0], 1000)
    assert (late.median, late.seen) == (math.inf, 1)
    due = stats.ecdf(stats.CensoredData(uncensored=[100, 300], right=[1000, 1000])).sf
    two = estimate_survival([100, 300, math.nan, math.nan], 1000)
    area = np.sum(due.evaluate([0, 100, 300]) * np.diff([0, 100, 300, 1000]))
    assert two.mean_until == pytest.approx(area)
    assert math.isnan(estimate_survival([], 10).median)
