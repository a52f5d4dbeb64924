"""Rank correlations and shares of variance, against SciPy and nested least squares."""

import itertools

import numpy as np
import pytest
from scipy import stats

from birthmark.errors import SpecError
from birthmark_experiments.statistics import (
    PARTS,
    correlate_ranks,
    share_variance,
    split_squares,
)


def test_coefficients_are_scipys_with_ties_and_missing_values(rng):
    x = rng.integers(4, size=40).astype(float)
    y = x + rng.normal(size=40)
    x[3], y[7] = np.nan, np.nan
    found = correlate_ranks(x, y)
    kept = np.isfinite(x) & np.isfinite(y)
    assert found.n == 38
    assert found.rho == pytest.approx(stats.spearmanr(x[kept], y[kept]).statistic)
    assert found.tau == pytest.approx(stats.kendalltau(x[kept], y[kept]).statistic)
    assert found.rho_low < found.rho < found.rho_high
    assert found.tau_low < found.tau < found.tau_high
    assert found.sign == 1
    assert correlate_ranks(x, -y).sign == -1


def test_the_interval_is_about_as_wide_as_fisher_says_and_wider_where_more_is_asked(
    rng,
):
    x = rng.normal(size=150)
    y = 0.6 * x + 0.8 * rng.normal(size=150)
    found = correlate_ranks(x, y)
    # Bonett & Wright 2000: the variance of atanh(rho) is (1 + rho^2 / 2) / (n - 3)
    half = 1.96 * np.sqrt((1 + found.rho**2 / 2) / 147)
    expected = np.tanh(np.arctanh(found.rho) + [-half, half])
    assert [found.rho_low, found.rho_high] == pytest.approx(expected, abs=0.04)
    wide = correlate_ranks(x, y, confidence=1 - 0.05 / 6)
    assert wide.rho_low < found.rho_low < found.rho_high < wide.rho_high


def test_unrelated_quantities_show_no_sign_and_constants_have_no_coefficient(rng):
    assert correlate_ranks(rng.normal(size=60), rng.normal(size=60)).sign == 0
    nothing = correlate_ranks(np.ones(20), rng.normal(size=20))
    assert np.isnan([nothing.rho, nothing.tau_low]).all()
    assert nothing.sign == 0
    assert np.isnan(correlate_ranks([1, 2, 3], [1, 2, 3]).rho)


def residual_squares(values, columns):
    """What least squares leaves with these columns of an explicit design matrix."""
    design = np.column_stack([np.ones(values.size), *columns])
    fitted = design @ np.linalg.lstsq(design, values.ravel(), rcond=None)[0]
    return ((values.ravel() - fitted) ** 2).sum()


def test_shares_are_what_nested_least_squares_leaves(rng):
    values = rng.normal(size=(4, 3, 5)) + np.arange(4)[:, None, None]
    values[1, 2] += 3
    a, b, _ = (index.ravel() for index in np.indices(values.shape))
    a_columns = [a == i for i in range(1, 4)]
    b_columns = [b == j for j in range(1, 3)]
    both = [p & q for p, q in itertools.product(a_columns, b_columns)]
    none, first, second, additive, full = (
        residual_squares(values, columns)
        for columns in (
            [],
            a_columns,
            b_columns,
            a_columns + b_columns,
            a_columns + b_columns + both,
        )
    )
    expected = np.array([none - first, none - second, additive - full, full]) / none
    shares = share_variance(values)
    assert [shares[part].eta2 for part in PARTS] == pytest.approx(expected)
    assert sum(share.eta2 for share in shares.values()) == pytest.approx(1)
    error = full / (4 * 3 * 4)
    omega = (none - first - 3 * error) / (none + error)
    assert shares["first"].omega2 == pytest.approx(omega)
    assert sum(share.omega2 for share in shares.values()) == pytest.approx(1)
    for share in shares.values():
        assert share.low < share.omega2 < share.high


def test_omega_is_without_bias_where_nothing_matters_and_eta_is_not():
    noise = np.random.default_rng(8).normal(size=(200, 4, 3, 4))
    eta2, omega2 = split_squares(noise)[:, 0].mean(axis=1)
    assert eta2 == pytest.approx(3 / (4 * 3 * 4 - 1), abs=0.01)
    assert omega2 == pytest.approx(0, abs=0.01)


def test_a_single_factor_takes_all_and_replicas_that_agree_have_no_interval():
    values = np.zeros((3, 2, 4)) + np.array([1.0, 2, 5])[:, None, None]
    shares = share_variance(values)
    assert shares["first"].eta2 == pytest.approx(1)
    assert (shares["first"].low, shares["first"].high) == pytest.approx((1, 1))


def test_intervals_hold_the_true_share_about_as_often_as_the_module_says():
    random = np.random.default_rng(11)
    cells = random.normal(size=(5, 3))
    squares = split_squares(np.repeat(cells[..., None], 2, axis=2))[0]
    effect = ((cells - cells.mean()) ** 2).mean()
    true = squares * effect / (effect + 1)  # replicas have variance 1
    held = []
    for _ in range(20):
        found = share_variance(cells[..., None] + random.normal(size=(5, 3, 10)))
        held += [
            found[part].low <= share <= found[part].high
            for part, share in zip(PARTS[:3], true[:3], strict=True)
        ]
    assert np.mean(held) > 0.8


def test_what_has_no_shares_is_refused():
    with pytest.raises(SpecError, match="2 replicas at least, got the shape"):
        share_variance(np.ones((3, 2, 1)))
    with pytest.raises(SpecError, match="not all the same"):
        share_variance(np.ones((3, 2, 2)))
    with pytest.raises(SpecError, match="finite"):
        share_variance(np.full((3, 2, 2), np.nan))
