"""Pooled conditional distributions, against NumPy and SciPy on the raw weights."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from birthmark.analysis import pool_conditional_moments, pool_conditionals
from birthmark.errors import StoreError
from birthmark.statistics import find_peak

BOUND = 0.2
EDGES = np.linspace(-1, 1, 42)
CURRENT = np.sinh(np.linspace(-np.arcsinh(64), np.arcsinh(64), 162))
NAMES = ("count", "mean", "std", "skewness", "kurtosis")


def _weights(replicas=5, n=20_000, seed=0):
    """Initial weights, and final ones with a skewed deviation that depends on them."""
    random = np.random.default_rng(seed)
    initial = random.uniform(-BOUND, BOUND, size=(replicas, n))
    scale = 0.02 + 0.05 * np.abs(initial)
    return initial, initial + scale * (random.gamma(3.0, size=initial.shape) - 3)


def _moments(x):
    if len(x) == 0:
        return 0, np.nan, np.nan, np.nan, np.nan
    if np.std(x) == 0:
        return len(x), x.mean(), 0.0, np.nan, np.nan
    return len(x), x.mean(), x.std(), stats.skew(x), stats.kurtosis(x)


def _records(initial, current):
    inner = BOUND * EDGES[1:-1]
    place = np.digitize(initial, inner)
    replicas, bins = len(initial), len(EDGES) - 1
    ends = BOUND * np.concatenate([[-np.inf], CURRENT[1:-1], [np.inf]])
    joint = np.array(
        [
            [np.histogram(w[p == m], ends)[0] for m in range(bins)]
            for w, p in zip(current, place, strict=True)
        ]
    )
    moments = np.array(
        [
            [_moments((w - w0)[p == m]) for m in range(bins)]
            for w, w0, p in zip(current, initial, place, strict=True)
        ]
    )
    dims = ("distribution_step", "replica", "layer", "bin")
    variables = {
        f"conditional_{name}": (dims, moments[None, :, None, :, k])
        for k, name in enumerate(NAMES)
    }
    variables["joint_count"] = ((*dims, "current_bin"), joint[None, :, None])
    variables["bound"] = ("layer", [BOUND])
    coords = {
        "layer": ["hidden2"],
        "replica": np.arange(replicas),
        "distribution_epoch": ("distribution_step", [7]),
        "bin_edge": EDGES,
        "current_bin_edge": CURRENT,
    }
    return xr.Dataset(variables, coords)


@pytest.fixture(scope="module")
def raw():
    return _weights()


@pytest.fixture(scope="module")
def pooled(raw):
    return pool_conditionals(_records(*raw), 7, "hidden2")


def _in_bin(raw, m):
    initial, current = (x.ravel() for x in raw)
    return (np.digitize(initial, BOUND * EDGES[1:-1]) == m), initial, current


def test_pooled_moments_are_those_of_all_weights_together(raw, pooled):
    for m in range(len(EDGES) - 1):
        inside, initial, current = _in_bin(raw, m)
        x = (current - initial)[inside]
        found = pooled.moments
        assert found.count[m] == len(x)
        np.testing.assert_allclose(found.mean[m], x.mean(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.std[m], x.std(), rtol=1e-9)
        np.testing.assert_allclose(found.skewness[m], stats.skew(x), rtol=1e-8)
        np.testing.assert_allclose(found.kurtosis[m], stats.kurtosis(x), rtol=1e-8)


def test_pooling_bears_empty_bins_single_weights_and_constants():
    samples = [np.array([]), np.array([2.0]), np.full(3, 1.5), np.arange(4.0)]
    table = np.array([_moments(x) for x in samples]).T
    found = pool_conditional_moments(*table[:, :, None])
    whole = np.concatenate(samples)
    np.testing.assert_allclose(found.mean[0], whole.mean())
    np.testing.assert_allclose(found.std[0], whole.std())
    np.testing.assert_allclose(found.skewness[0], stats.skew(whole))
    np.testing.assert_allclose(found.kurtosis[0], stats.kurtosis(whole))
    nothing = pool_conditional_moments(*table[:, :1, None])
    assert nothing.count[0] == 0 and np.isnan(nothing.mean[0])


def test_pooling_far_from_zero_keeps_its_digits():
    random = np.random.default_rng(0)
    samples = 1e4 + random.gamma(2, size=(3, 500)) * 1e-2
    table = np.array([_moments(x) for x in samples]).T
    found = pool_conditional_moments(*table[:, :, None])
    np.testing.assert_allclose(found.std[0], samples.std(), rtol=1e-7)
    skewness = stats.skew(samples.ravel())
    np.testing.assert_allclose(found.skewness[0], skewness, rtol=1e-5)


def test_errors_are_the_scatter_between_studies():
    random = np.random.default_rng(4)
    studies = []
    for _ in range(60):
        # replicas differ: weights of one network are not independent
        shift = random.normal(0, 0.3, size=(6, 10, 1))
        samples = shift + random.gamma(2.0, size=(6, 10, 100))
        table = (
            np.full((6, 10), 100),
            samples.mean(axis=-1),
            samples.std(axis=-1),
            stats.skew(samples, axis=-1),
            stats.kurtosis(samples, axis=-1),
        )
        studies.append(pool_conditional_moments(*table))
    for name in ("mean", "std", "skewness"):
        values = np.array([getattr(one, name) for one in studies])
        errors = np.array([getattr(one, f"{name}_error") for one in studies])
        ratio = errors.mean() / values.std(axis=0, ddof=1).mean()
        assert 0.8 < ratio < 1.2, name


def test_errors_are_those_of_resampling_the_raw_replicas():
    random = np.random.default_rng(1)
    samples = random.normal(0, 3, size=(6, 1)) + random.gamma(2.0, size=(6, 200))
    table = np.array([_moments(x) for x in samples]).T
    found = pool_conditional_moments(*table[:, :, None])
    drawn = samples[random.integers(6, size=(4000, 6))].reshape(4000, -1)
    widen = np.sqrt(6 / 5)
    truths = {
        "mean": drawn.mean(axis=1),
        "std": drawn.std(axis=1),
        "skewness": stats.skew(drawn, axis=1),
        "kurtosis": stats.kurtosis(drawn, axis=1),
    }
    for name, values in truths.items():
        error = getattr(found, f"{name}_error")[0]
        assert error == pytest.approx(widen * values.std(), rel=0.12), name


def test_quantiles_are_those_of_the_weights_to_a_bin(raw, pooled):
    assert pooled.levels == (0.02, 0.25, 0.5, 0.75, 0.98)
    for m in range(len(EDGES) - 1):
        inside, _, current = _in_bin(raw, m)
        truth = np.quantile(current[inside], pooled.levels)
        np.testing.assert_allclose(BOUND * pooled.quantiles[:, m], truth, atol=0.01)


def test_the_joint_density_integrates_to_one_and_counts_every_weight(raw, pooled):
    area = np.diff(EDGES)[:, None] * np.diff(CURRENT)
    assert (pooled.density * area).sum() == pytest.approx(1.0)
    assert pooled.counts.sum() == raw[0].size
    assert pooled.num_replicas == 5


def test_peaks_of_counts_and_of_weights_are_the_mode(raw, pooled):
    initial, current = (x[:, :, None] for x in raw)
    fine = pool_conditionals(_records(*raw), 7, "hidden2", weights=(initial, current))
    centres = BOUND * (EDGES[:-1] + EDGES[1:]) / 2
    scale = 0.02 + 0.05 * np.abs(centres)
    mode = -scale  # of scale (gamma(3) - 3): the mode of gamma(3) is 2
    assert (np.abs(pooled.peak - mode) < pooled.peak_resolution).all()
    assert (np.abs(fine.peak - mode) < 0.35 * scale).all()
    assert (fine.peak_resolution < pooled.peak_resolution / 10).all()
    # no shift by half a bin of the initial weight
    assert abs((pooled.peak - fine.peak).mean()) < 0.1 * BOUND * (EDGES[1] - EDGES[0])
    for one in (pooled, fine):
        assert (one.peak_low <= one.peak).all() and (one.peak <= one.peak_high).all()
    # the peak is not the mean: the law is skewed
    assert (fine.peak < fine.moments.mean - 0.3 * scale).all()


def test_the_peak_of_a_skewed_law_is_found_on_any_edges():
    random = np.random.default_rng(0)
    samples = random.gamma(4.0, size=(10, 5000))
    for edges in (np.linspace(0, 20, 201), np.geomspace(0.05, 30, 150)):
        counts = np.stack([np.histogram(x, edges)[0] for x in samples])
        found = find_peak(edges, counts)
        truth = stats.gaussian_kde(samples.ravel()[:20_000])
        grid = np.linspace(1, 6, 501)
        assert found.value == pytest.approx(grid[truth(grid).argmax()], abs=0.2)
        assert found.value == pytest.approx(3.0, abs=0.2)
        assert found.low <= found.value <= found.high < found.low + 0.6
        assert 0 < found.bandwidth < 0.5


@pytest.mark.parametrize(("replicas", "sets"), [(3, 150), (10, 80)])
def test_the_interval_of_the_peak_covers_as_often_as_it_says(replicas, sets):
    """The bootstrap over replicas did so in 77 % of sets of three."""
    random = np.random.default_rng(0)
    edges = np.linspace(-3, 3, 121)
    hits = []
    for _ in range(sets):
        modes = random.normal(0, 0.1, size=(replicas, 1))
        law = np.diff(stats.norm.cdf(edges, modes, 0.6), axis=1)
        found = find_peak(edges, random.poisson(5000 * law))
        hits.append(found.low <= 0 <= found.high)
    assert 0.88 <= np.mean(hits) <= 0.99


def test_where_one_replica_has_all_weights_the_peak_has_no_interval():
    counts = np.array([[1, 5, 2], [0, 0, 0]])
    found = find_peak(np.arange(4.0), counts)
    assert 1 < found.value < 2
    assert np.isnan([found.low, found.high]).all()


def test_the_peak_does_not_hang_on_a_wide_bin_that_is_full_but_thin():
    edges = np.array([0.0, 1.0, 2.0, 3.0, 23.0])
    found = find_peak(edges, np.array([[10, 40, 20, 60]]))
    assert 1 < found.value < 2.2
    assert np.isnan(found.low)  # one replica has no interval


def test_an_empty_distribution_has_no_peak():
    assert np.isnan(find_peak(np.array([0.0, 1.0]), np.zeros((2, 1))).value)


def test_replicas_without_finite_weights_are_left_out(raw, pooled):
    records = _records(*raw)
    lost = records.reindex(replica=range(6))
    lost["joint_count"] = lost["joint_count"].fillna(0)
    found = pool_conditionals(lost, 7, "hidden2")
    assert found.num_replicas == 5
    np.testing.assert_array_equal(found.moments.std, pooled.moments.std)
    np.testing.assert_allclose(found.peak, pooled.peak)


def test_a_single_replica_has_no_errors_and_no_interval(raw):
    found = pool_conditionals(_records(*(x[:1] for x in raw)), 7, "hidden2")
    assert np.isnan(found.moments.mean_error).all() and np.isnan(found.peak_low).all()
    assert np.isfinite(found.peak).all()


def test_weights_beyond_the_last_edge_have_no_quantile():
    initial = np.zeros((2, 10))
    records = _records(initial, np.full((2, 10), 100.0))
    found = pool_conditionals(records, 7, "hidden2")
    assert np.isnan(found.quantiles).all()


def test_an_epoch_without_distributions_is_refused_with_those_that_have():
    with pytest.raises(StoreError, match=r"no distributions at epoch 8.*\[7\]"):
        pool_conditionals(_records(*_weights(1, 10)), 8, "hidden2")
