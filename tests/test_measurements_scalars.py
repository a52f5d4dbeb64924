"""Scalars against NumPy, SciPy and closed forms, replica by replica in float64."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from birthmark.measurements import QUANTILES, extend_path, measure
from birthmark.shapes import Layer, Weights
from weight_stacks import draw_stack, move, one_layer, rows_of


def pearson(w0, w):
    return scipy.stats.pearsonr(w0, w).statistic


ORACLES = {
    "deviation_mean": lambda w0, w: np.mean(w - w0),
    "deviation_std": lambda w0, w: np.std(w - w0),
    "deviation_skewness": lambda w0, w: scipy.stats.skew(w - w0),
    "deviation_kurtosis": lambda w0, w: scipy.stats.kurtosis(w - w0),
    "deviation_quantile": lambda w0, w: np.quantile(
        w - w0, [0.02, 0.25, 0.5, 0.75, 0.98]
    ),
    "deviation_mean_abs": lambda w0, w: np.mean(np.abs(w - w0)),
    "deviation_max": lambda w0, w: np.max(np.abs(w - w0)),
    "distance": lambda w0, w: np.linalg.norm(w - w0),
    "relative_distance": lambda w0, w: np.linalg.norm(w - w0) / np.linalg.norm(w0),
    "correlation": pearson,
    "cosine": lambda w0, w: w0 @ w / np.linalg.norm(w0) / np.linalg.norm(w),
    "slope": lambda w0, w: scipy.stats.linregress(w0, w).slope,
    "intercept": lambda w0, w: scipy.stats.linregress(w0, w).intercept,
    "r_squared": lambda w0, w: scipy.stats.linregress(w0, w).rvalue ** 2,
    "sign_flips": lambda w0, w: np.mean(np.sign(w0) != np.sign(w)),
    "path_length": lambda w0, w: np.linalg.norm(w - w0),
    "nonfinite_count": lambda w0, w: 0,
}


@pytest.mark.parametrize("bias", [False, True], ids=["weights", "biases"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ORACLES)
def test_each_scalar_agrees_with_its_oracle(name, dtype, bias):
    w0 = draw_stack(1, dtype=dtype)
    w = move(w0, 2)
    found = measure(w0, w, kind="scalars")["bias_" * bias + name]
    for layer in w0:
        starts, ends = (rows_of(weights, layer, bias=bias) for weights in (w0, w))
        expected = [ORACLES[name](*rows) for rows in zip(starts, ends, strict=True)]
        np.testing.assert_allclose(found.sel(layer=layer), expected, rtol=1e-10)


def test_float32_deviations_far_below_the_weights_keep_their_moments():
    """A mean far above the spread and a spread near the rounding of the weights."""
    rng = np.random.default_rng(0)
    w0 = rng.uniform(1, 2, (1, 300, 200)).astype(np.float32)
    w = w0 + (1e-3 + 1e-5 * rng.gamma(2.0, size=w0.shape)).astype(np.float32)
    found = measure(one_layer(w0), one_layer(w), kind="scalars").squeeze()
    deviation = (w.astype(np.float64) - w0).ravel()
    assert found.deviation_std == pytest.approx(np.std(deviation), rel=1e-9)
    assert found.deviation_skewness == pytest.approx(
        scipy.stats.skew(deviation), rel=1e-6
    )
    assert found.deviation_kurtosis == pytest.approx(
        scipy.stats.kurtosis(deviation), rel=1e-6
    )


def test_float16_weights_are_measured_in_float64():
    w0 = draw_stack(1, dtype=torch.float16)
    w = move(w0, 2)
    found = measure(w0, w, kind="scalars").distance.sel(layer="hidden1")
    expected = np.linalg.norm(rows_of(w, "hidden1") - rows_of(w0, "hidden1"), axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_strided_views_measure_like_contiguous_tensors(dtype):
    w0 = draw_stack(1, dtype=dtype)
    w = move(w0, 2)

    def view(weights):
        return Weights(
            {
                name: Layer(layer.w.mT.contiguous().mT, layer.b)
                for name, layer in weights.items()
            }
        )

    strided = view(w)
    assert not strided["hidden1"].w.is_contiguous()
    plain = measure(w0, w)
    for other in (measure(w0, strided), measure(view(w0), strided)):
        assert plain.identical(other)


def test_nothing_measured_is_changed_and_no_gradient_is_followed():
    layer = torch.nn.Linear(6, 4, dtype=torch.float64)
    stack = Weights({"output": Layer(layer.weight.T[None], layer.bias[None])})
    before = stack.clone()
    found = measure(before, stack)
    assert (found.distance == 0).all()
    assert layer.weight.grad is None
    torch.testing.assert_close(stack["output"].w.detach(), before["output"].w)


values = npst.arrays(
    np.float64,
    st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)),
    elements=st.floats(-1e3, 1e3, allow_subnormal=False),
)


@settings(max_examples=60, deadline=None)
@given(values)
def test_quantiles_are_those_of_numpy_for_any_number_of_weights(w):
    found = measure(one_layer(np.zeros_like(w)), one_layer(w), kind="scalars")
    expected = np.quantile(w.reshape(len(w), -1), QUANTILES, axis=1).T
    np.testing.assert_allclose(
        found.deviation_quantile.sel(layer="output"), expected, rtol=1e-12, atol=1e-12
    )


@settings(max_examples=60, deadline=None)
@given(values, st.integers(0, 5))
def test_bounded_scalars_stay_in_their_bounds(w, seed):
    w0 = np.random.default_rng(seed).normal(size=w.shape)
    found = measure(one_layer(w0), one_layer(w), kind="scalars")
    bounds = {"correlation": -1, "cosine": -1, "r_squared": 0, "sign_flips": 0}
    for name, low in bounds.items():
        inside = ((found[name] >= low) & (found[name] <= 1)) | found[name].isnull()
        assert inside.all(), name


# closed forms


def uniform_pair(seed=0, size=400):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (2, 1, size, size))


def test_an_independent_redraw_lies_at_relative_distance_sqrt_2():
    w0, w = uniform_pair()
    found = measure(one_layer(w0), one_layer(w), kind="scalars").squeeze()
    assert found.relative_distance == pytest.approx(np.sqrt(2), rel=0.01)
    assert found.correlation == pytest.approx(0, abs=0.01)
    assert found.sign_flips == pytest.approx(0.5, abs=0.005)


def test_pure_shrinkage_is_a_slope_below_one_with_r_squared_one():
    w0, _ = uniform_pair()
    found = measure(one_layer(w0), one_layer(0.7 * w0), kind="scalars").squeeze()
    assert found.slope == pytest.approx(0.7, rel=1e-12)
    assert found.intercept == pytest.approx(0, abs=1e-12)
    assert found.r_squared == pytest.approx(1, rel=1e-12)
    assert found.cosine == pytest.approx(1, rel=1e-12)
    assert found.relative_distance == pytest.approx(0.3, rel=1e-12)


def test_distance_splits_into_shrinkage_and_scatter():
    """(1 - slope)^2 + residual for a line through zero, with centred weights."""
    w0, noise = uniform_pair()
    w0, noise = (x - x.mean() for x in (w0, noise))
    w = 0.8 * w0 + 0.1 * noise
    found = measure(one_layer(w0), one_layer(w), kind="scalars").squeeze()
    slope = float(found.slope)
    residual = np.sum((w - slope * w0) ** 2) / np.sum(w0**2)
    split = (1 - slope) ** 2 + residual
    assert float(found.relative_distance) ** 2 == pytest.approx(split, rel=1e-9)


@pytest.mark.parametrize("sigma", [0.05, 0.1])
def test_small_noise_flips_the_signs_that_the_null_model_says(sigma):
    w0, _ = uniform_pair()
    noise = np.random.default_rng(1).normal(0, sigma, w0.shape)
    found = measure(one_layer(w0), one_layer(w0 + noise), kind="scalars").squeeze()
    assert found.sign_flips == pytest.approx(sigma / np.sqrt(2 * np.pi), rel=0.03)


def test_sign_flips_leave_out_weights_that_start_at_zero_and_count_those_now_zero():
    w0 = np.array([[0.0, 1.0, -1.0, 2.0, 3.0]])
    w = np.array([[5.0, -1.0, -2.0, 0.0, 3.0]])
    found = measure(one_layer(w0), one_layer(w), kind="scalars")
    assert found.sign_flips.item() == 2 / 4


# the path


def test_the_path_sums_the_recorded_moves_and_never_falls_below_the_distance():
    steps = [draw_stack(seed, dtype=torch.float32) for seed in range(4)]
    path = {}
    for previous, current in zip(steps, steps[1:], strict=False):
        path = extend_path(path, previous, current)
    found = measure(steps[0], steps[-1], path=path, kind="scalars")
    for name, bias in [("hidden1", False), ("hidden2", True), ("output", False)]:
        rows = np.stack([rows_of(w, name, bias=bias) for w in steps])
        expected = np.linalg.norm(np.diff(rows, axis=0), axis=2).sum(0)
        prefix = "bias_" * bias
        lengths = found[prefix + "path_length"].sel(layer=name)
        np.testing.assert_allclose(lengths, expected, rtol=1e-12)
        assert (lengths >= found[prefix + "distance"].sel(layer=name)).all()
    assert "recorded moves" in found.path_length.attrs["long_name"]


def test_one_recorded_move_is_as_long_as_the_distance_to_the_last_bit():
    w0 = draw_stack(0, dtype=torch.float32)
    w = move(w0, 1, size=1e-4)
    found = measure(w0, w, path=extend_path({}, w0, w), kind="scalars")
    assert (found.path_length == found.distance).all()
    assert (found.path_length == measure(w0, w).path_length).all()


# facts about the data


def test_weights_behind_inputs_that_are_always_zero_cannot_move():
    w0 = draw_stack(0)
    still = np.zeros(13, dtype=bool)
    still[:4] = True
    found = measure(w0, w0, still_inputs=still, kind="scalars").cannot_move
    assert (found.sel(layer="hidden1") == 4 / 13).all()
    assert (found.sel(layer=["hidden2", "output"]) == 0).all()
    unknown = measure(w0, w0, kind="scalars").cannot_move
    assert unknown.sel(layer="hidden1").isnull().all()
    assert (unknown.sel(layer=["hidden2", "output"]) == 0).all()
