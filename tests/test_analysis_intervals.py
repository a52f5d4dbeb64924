"""Means and differences over replicas, against SciPy and by simulation."""

import numpy as np
import pytest
from scipy import stats

from birthmark.statistics import (
    compare_means,
    resample,
    share_interval,
    spearman,
    summarize,
    summarize_curves,
)
from birthmark.statistics.intervals import RESAMPLES

SKEWED = np.array([1.0, 1.2, 1.1, 3.0, 0.9, 1.4, 2.1, 1.05])


@pytest.mark.parametrize("size", [3, 8])
def test_means_and_differences_are_checked_by_the_bca_interval_of_scipy(size, rng):
    x, y = SKEWED[:size], rng.gamma(2.0, size=5)

    def bootstrap(samples, statistic, purpose):
        found = stats.bootstrap(
            samples, statistic, n_resamples=RESAMPLES, rng=resample(purpose)
        ).confidence_interval
        return pytest.approx([found.low, found.high], rel=1e-12)

    mean, difference = summarize(x), compare_means(x, y)
    assert [mean.bootstrap_low, mean.bootstrap_high] == bootstrap([x], np.mean, "mean")
    assert "BCa" in mean.method
    assert [difference.bootstrap_low, difference.bootstrap_high] == bootstrap(
        [x, y], lambda a, b, axis: np.mean(a, axis) - np.mean(b, axis), "difference"
    )


def test_shares_and_rank_correlations_are_those_of_scipy(rng):
    for count, n in ((0, 4), (3, 4), (4, 4), (7, 30)):
        truth = stats.binomtest(count, n).proportion_ci()
        assert share_interval(count, n) == pytest.approx((truth.low, truth.high))
    a, b = rng.integers(0, 6, size=(2, 12)).astype(float)
    truth = stats.spearmanr(a, b)
    assert spearman(a, b) == pytest.approx((truth.statistic, truth.pvalue))


def test_summary_leaves_nan_out_and_says_how_many_are_left():
    found = summarize([np.nan, *SKEWED, np.nan])
    assert found == summarize(SKEWED)
    assert found.n == len(SKEWED)


def test_summaries_of_degenerate_samples_are_plain():
    empty, one, same = summarize([np.nan]), summarize([2.0]), summarize([2.0, 2.0])
    assert empty.n == 0 and np.isnan([empty.mean, empty.low, empty.high]).all()
    assert one.mean == 2 and np.isnan([one.low, one.high]).all()
    assert (same.mean, same.low, same.high, same.n) == (2, 2, 2, 2)


def test_the_interval_of_a_mean_is_students():
    low, high = stats.t.interval(0.95, 7, SKEWED.mean(), stats.sem(SKEWED))
    found = summarize([np.nan, *SKEWED])
    np.testing.assert_allclose([found.low, found.high], [low, high])


def test_a_sign_is_told_only_where_both_intervals_agree():
    assert [summarize(x).sign for x in (SKEWED, -SKEWED, SKEWED - 1.4)] == [1, -1, 0]
    # no resample of three negative values can reach 0, but Student's interval does
    few = np.array([-177.0, -39.0, -1.0])
    assert summarize(few).bootstrap_high < 0 < summarize(few).high
    assert summarize(few).sign == summarize(-few).sign == 0


def test_the_interval_of_a_mean_covers_as_often_as_it_says():
    random = np.random.default_rng(3)
    for n in (3, 5):
        samples = random.normal(1.0, 0.5, size=(200, n))
        hits = [(e := summarize(x)).low <= 1.0 <= e.high for x in samples]
        assert 0.90 <= np.mean(hits) <= 0.99


def test_curves_have_students_interval():
    values = np.random.default_rng(1).gamma(2.0, size=(7, 9))
    values[3, :4] = np.nan
    found = summarize_curves(values)
    for place, row in enumerate(values):
        x = row[np.isfinite(row)]
        low, high = stats.t.interval(0.95, len(x) - 1, x.mean(), stats.sem(x))
        np.testing.assert_allclose(found.low[place], low, rtol=1e-12)
        np.testing.assert_allclose(found.high[place], high, rtol=1e-12)
        np.testing.assert_allclose(found.mean[place], x.mean(), rtol=1e-12)
        assert found.n[place] == len(x)


def test_curves_on_a_log_scale_are_geometric_means():
    values = np.random.default_rng(1).gamma(2.0, size=(4, 6))
    found = summarize_curves(values, scale="log")
    np.testing.assert_allclose(found.mean, stats.gmean(values, axis=1), rtol=1e-12)
    logs = summarize_curves(np.log(values))
    np.testing.assert_allclose(found.high, np.exp(logs.high), rtol=1e-12)


def test_curves_of_one_or_no_value_have_no_interval():
    found = summarize_curves([[1.0, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(found.n, [1, 0])
    np.testing.assert_array_equal(found.mean, [1, np.nan])
    assert np.isnan(found.low).all() and np.isnan(found.high).all()


def test_comparison_agrees_with_welchs_test():
    random = np.random.default_rng(0)
    a, b = random.normal(0.8, 0.05, 8), random.normal(0.6, 0.1, 6)
    found = compare_means([*a, np.nan], b)
    truth = stats.ttest_ind(a, b, equal_var=False)
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.p == pytest.approx(truth.pvalue)
    assert found.low == pytest.approx(truth.confidence_interval().low)
    assert (found.n_a, found.n_b, found.sign) == (8, 6, 1)
    assert compare_means(b, a).sign == -1
    brute = a[random.integers(8, size=(40_000, 8))].mean(1)
    brute = brute - b[random.integers(6, size=(40_000, 6))].mean(1)
    low, high = np.percentile(brute, [2.5, 97.5])
    check = [found.bootstrap_low, found.bootstrap_high]
    np.testing.assert_allclose(check, [low, high], atol=0.02)


def test_comparison_of_the_same_law_sees_no_difference():
    random = np.random.default_rng(5)
    signs = [compare_means(*random.normal(size=(2, 6))).sign for _ in range(100)]
    assert np.mean(np.array(signs) != 0) <= 0.1


def test_comparison_of_too_few_or_of_constants_claims_nothing():
    for a, b in (([1.0], [0.0, 0.1]), ([], [1.0]), ([1.0, 1.0], [0.0, 0.0])):
        found = compare_means(a, b)
        assert found.sign == 0 and np.isnan(found.p)


def test_intervals_are_the_same_at_every_call():
    assert summarize(SKEWED) == summarize(SKEWED)
    assert compare_means(SKEWED, SKEWED + 1) == compare_means(SKEWED, SKEWED + 1)
