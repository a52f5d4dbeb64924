"""Where nothing is defined there is NaN: no exception, no warning, no one else hurt."""

import numpy as np
import pytest
import torch

from birthmark.measurements import MEASUREMENTS, blocks, measure
from birthmark.shapes import Layer, Mark, Weights
from weight_stacks import draw_stack, move, one_layer

MARK = Mark("hidden2", np.eye(7, 9, dtype=bool), "zero", 0.0)
SHAPE = ["deviation_skewness", "deviation_kurtosis"]
LINE = ["correlation", "slope", "intercept", "r_squared"]


def test_at_the_start_nothing_has_moved():
    w0 = draw_stack(1, dtype=torch.float32)
    found = measure(w0, w0)
    for prefix in ("", "bias_"):
        zero = ["deviation_mean", "deviation_std", "deviation_quantile", "distance"]
        zero += ["deviation_max", "relative_distance", "path_length", "sign_flips"]
        for name in zero:
            assert (found[prefix + name] == 0).all(), name
        for name in SHAPE:
            assert found[prefix + name].isnull().all(), name
        for name in ("correlation", "cosine", "slope", "r_squared"):
            np.testing.assert_allclose(found[prefix + name], 1, rtol=1e-12)
        filled = found[prefix + "conditional_count"] > 0
        assert (found[prefix + "conditional_peak"].where(filled, 0) == 0).all()
    assert (found.spectral_distance == 0).all()
    assert found.effective_rank.isnull().all()


def test_zero_initial_weights_leave_no_line_and_no_relative_distance():
    w = np.random.default_rng(0).normal(size=(4, 5))
    for current in (w, 0 * w):
        found = measure(one_layer(0 * w), one_layer(current))
        for name in [*LINE, "relative_distance", "cosine", "sign_flips"]:
            assert found[name].isnull().all(), name
        assert found.distance.item() == pytest.approx(np.linalg.norm(current))
    assert found.bound.item() == pytest.approx(1 / 2)


@pytest.mark.parametrize("value", [0.1, -1e-3, 0.5, 1e7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constants_have_no_shape_and_no_line_whatever_their_rounding(value, dtype):
    w0 = np.full((37, 41), value, dtype=dtype)
    w = (w0 * dtype(0.9)).astype(dtype)
    found = measure(one_layer(w0), one_layer(w))
    for name in SHAPE + LINE + ["conditional_skewness", "conditional_kurtosis"]:
        assert found[name].isnull().all(), name
    assert found.cosine.item() == pytest.approx(1)
    deviation = float(w[0, 0]) - float(w0[0, 0])
    assert found.deviation_mean.item() == pytest.approx(deviation, rel=1e-12)
    peaks = found.conditional_peak.squeeze()
    assert peaks[~peaks.isnull()].item() == pytest.approx(deviation, rel=1e-12)


def test_one_last_bit_among_many_equal_weights_is_a_spread():
    w0 = np.ones((100, 100), dtype=np.float32)
    w0[0, 0] = np.nextafter(np.float32(1), np.float32(2))
    found = measure(one_layer(w0), one_layer(2 * w0), kind="scalars")
    assert found.slope.item() == pytest.approx(2)
    assert found.correlation.item() == pytest.approx(1)
    assert found.deviation_skewness.item() == pytest.approx(100, rel=1e-3)


def test_weights_that_became_constant_have_slope_zero_and_no_correlation():
    w0 = np.random.default_rng(0).normal(size=(4, 5))
    found = measure(one_layer(w0), one_layer(np.full((4, 5), 0.1)), kind="scalars")
    assert found.slope.item() == pytest.approx(0, abs=1e-15)
    assert found.correlation.isnull().all()


def test_a_single_weight_is_measured():
    found = measure(one_layer([[1.0]]), one_layer([[3.0]]))
    assert found.distance.item() == found.spectral_distance.item() == 2
    assert found.effective_rank.item() == 1
    assert (found.deviation_quantile == 2).all()
    assert found.conditional_peak.max() == 2
    for name in SHAPE + LINE:
        assert found[name].isnull().all(), name


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_failed_replica_is_counted_and_disturbs_no_other(bad):
    w0 = draw_stack(1, dtype=torch.float32)
    w = move(w0, 2)
    clean = measure(w0, w, mark=MARK)
    w["hidden2"].w[1, 3, :2] = bad
    w["output"].b[1] = bad
    found = measure(w0, w, mark=MARK)

    others = {"replica": [0, 2]}
    assert found.sel(others).identical(clean.sel(others))
    assert found.sel(layer="hidden1", replica=1).identical(
        clean.sel(layer="hidden1", replica=1)
    )
    failed = found.sel(layer="hidden2", replica=1)
    assert failed.nonfinite_count == 2
    assert found.sel(layer="output", replica=1).bias_nonfinite_count == 5
    for name, measurement in MEASUREMENTS.items():
        if measurement.needs_finite and name in found:
            assert failed[name].isnull().all(), name
    assert failed.joint_count.sum() == failed.conditional_count.sum() == 7 * 9 - 2
    lost = clean.sel(layer="hidden2", replica=1).conditional_count
    same = failed.conditional_count == lost
    assert same.sum() >= 39
    for name in ("conditional_mean", "conditional_std", "conditional_peak"):
        left = failed[name].where(same)
        np.testing.assert_allclose(
            left, clean.sel(layer="hidden2", replica=1)[name].where(same), rtol=1e-12
        )
    all_lost = found.sel(layer="output", replica=1)
    assert all_lost.bias_joint_count.sum() == 0
    assert all_lost.bias_conditional_mean.isnull().all()


def test_a_start_that_is_not_finite_sets_no_bound_and_fills_no_bin():
    w0 = draw_stack(1)
    w = move(w0, 2)
    w0["hidden1"].w[1, 0] = np.inf
    found = measure(w0, w, kind="distributions").sel(layer="hidden1")
    finite = w0["hidden1"].w[w0["hidden1"].w.isfinite()]
    assert found.bound == finite.abs().max()
    np.testing.assert_array_equal(found.conditional_count.sum("bin"), [91, 84, 91])


def test_large_stacks_are_measured_in_parts_with_the_same_result(monkeypatch):
    w0 = draw_stack(1, replicas=5)
    w = move(w0, 2)
    path = {key: torch.arange(5.0) for name in w0 for key in (name, f"bias {name}")}
    whole = measure(w0, w, mark=MARK, path=path)
    monkeypatch.setattr(blocks, "VALUES_ON_CPU", 2 * 13 * 7)
    np.testing.assert_array_equal(
        measure(w0, w, path=path).path_length.sel(layer="hidden1"), range(5)
    )
    for name, variable in measure(w0, w, mark=MARK, path=path).items():
        np.testing.assert_allclose(variable, whole[name], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("exponent", [-640, 600])
def test_numbers_whose_squares_vanish_or_overflow_are_measured(exponent):
    """Powers of two are exact: what has the unit of weights scales, the rest stays."""
    w0 = draw_stack(1, dtype=torch.float64)
    w = move(w0, 2)
    unit = 2.0**exponent
    tiny = [
        Weights({n: Layer(y.w * unit, y.b * unit) for n, y in x.items()})
        for x in (w0, w)
    ]
    expected = measure(w0, w, mark=MARK)
    found = measure(*tiny, mark=MARK)
    for name, variable in expected.data_vars.items():
        factor = unit if variable.attrs["units"] == "weight" else 1.0
        np.testing.assert_allclose(
            found[name] / factor, variable, rtol=1e-12, err_msg=str(name)
        )
    assert found.distance.min() > 0 and np.isfinite(found.distance).all()


def test_deviations_far_below_the_weights_are_measured():
    """The deviation that starts at zero weights may be of any size: here 1e-192."""
    rng = np.random.default_rng(0)
    move_by = rng.normal(size=(4, 5))
    found = measure(one_layer(np.zeros((4, 5))), one_layer(move_by * 3.6e-192))
    assert found.distance.item() == pytest.approx(3.6e-192 * np.linalg.norm(move_by))
    assert found.deviation_std.item() == pytest.approx(3.6e-192 * move_by.std())
    assert found.spectral_distance.item() == pytest.approx(
        3.6e-192 * np.linalg.norm(move_by, 2)
    )


@pytest.mark.parametrize("exponents", [(-700, 0), (0, 700), (-1060, -1060)])
def test_tensors_of_sizes_far_apart_are_measured(exponents):
    """What knows no unit stays; the larger is the deviation, and sets its size."""
    rng = np.random.default_rng(0)
    # whole numbers, which the smallest of all can hold
    a, b = (rng.integers(-50, 50, (5, 6)).astype(float) for _ in range(2))
    expected = measure(one_layer(a), one_layer(b))
    units = [2.0**exponent for exponent in exponents]
    found = measure(one_layer(a * units[0]), one_layer(b * units[1]))
    for name in ("correlation", "cosine", "r_squared", "sign_flips"):
        assert found[name].item() == pytest.approx(expected[name].item()), name
    rise = 2.0 ** (exponents[1] - exponents[0])
    assert found.slope.item() / rise == pytest.approx(expected.slope.item())
    intercept = expected.intercept.item() * units[1]
    assert found.intercept.item() == pytest.approx(intercept, abs=5e-324)
    if rise == 1:
        for name in ("relative_distance", "correlation_by_noise", "deviation_skewness"):
            assert found[name].item() == pytest.approx(expected[name].item()), name
        return
    relative = np.linalg.norm(b) / np.linalg.norm(a)
    assert found.relative_distance.item() / rise == pytest.approx(relative)
    assert found.distance.item() == pytest.approx(np.linalg.norm(b) * units[1])
    by_noise = a.std() / b.std() / rise
    assert found.correlation_by_noise.item() == pytest.approx(by_noise)
