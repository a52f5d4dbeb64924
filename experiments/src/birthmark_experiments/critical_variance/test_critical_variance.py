"""The sweep of the variance against quadrature, closed forms, simulation and torch."""

import math

import numpy as np
import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from numpy.testing import assert_allclose
from scipy import optimize
from torch import nn

from birthmark.network import draw_weights
from birthmark.theory import RandomLayers
from birthmark_experiments import run_experiment, shipped_results
from birthmark_experiments.critical_variance import EXPERIMENT
from birthmark_experiments.critical_variance.facts import log_variance
from birthmark_experiments.critical_variance.measure import (
    correlate_pairs,
    find_window,
    pair_up,
    propagate,
    read_chi,
    read_scale,
)
from birthmark_experiments.critical_variance.protocol import PROTOCOLS, STARTS, spec_of

# -- theory ----------------------------------------------------------------------------

POINTS, WEIGHTS = hermegauss(120)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def expect(function, q):
    """E f(z) for z ~ N(0, q), by Gauss-Hermite quadrature."""
    return float(WEIGHTS @ function(math.sqrt(q) * POINTS))


def expect_pair(function, q, c):
    u = math.sqrt(q) * POINTS[:, None]
    v = math.sqrt(q) * (c * POINTS[:, None] + math.sqrt(1 - c * c) * POINTS[None, :])
    return float(WEIGHTS @ (function(u) * function(v)) @ WEIGHTS)


def tanh_slope(z):
    return 1 / np.cosh(z) ** 2


@pytest.mark.parametrize("weight", [0.8, 1.5, 2.2, 3.5])
def test_fixed_points_of_tanh_are_those_of_gauss_hermite_quadrature(weight):
    bias = 0.05
    law = RandomLayers("tanh", weight, bias)
    q = optimize.brentq(
        lambda q: weight * expect(lambda z: np.tanh(z) ** 2, q) + bias - q, 1e-6, 20
    )
    assert law.fixed_moment == pytest.approx(q, rel=1e-8)
    chi = weight * expect(lambda z: tanh_slope(z) ** 2, q)
    assert law.chi == pytest.approx(chi, rel=1e-7)
    c, slope = 1.0, chi
    if chi > 1:
        c = optimize.brentq(
            lambda c: (weight * expect_pair(np.tanh, q, c) + bias) / q - c, 0, 1 - 1e-6
        )
        slope = weight * expect_pair(tanh_slope, q, c)
    assert law.fixed_correlation == pytest.approx(c, abs=1e-7)
    assert law.depth_scale == pytest.approx(-1 / math.log(slope), rel=1e-4)


def test_the_critical_variance_of_tanh_is_the_published_one():
    """Schoenholz et al. 1611.01232, fig. 5: about 1.76 for biases of 0.05."""
    assert (
        RandomLayers("tanh", 1.70, 0.05).chi < 1 < RandomLayers("tanh", 1.80, 0.05).chi
    )
    assert RandomLayers("tanh", 1.76, 0.05).chi == pytest.approx(1, abs=1e-3)


def test_relu_has_its_closed_forms():
    for weight in (0.5, 2.0, 3.0):
        law = RandomLayers("relu", weight, 0.0)
        assert law.chi == pytest.approx(weight / 2, rel=1e-9)
        assert law.fixed_correlation == 1 and law.depth_scale == math.inf
    law = RandomLayers("relu", 1.0, 0.3)
    assert law.fixed_moment == pytest.approx(0.6)
    assert law.depth_scale == pytest.approx(1 / math.log(2))
    assert RandomLayers("relu", 2.0, 0.1).fixed_moment == math.inf
    # Cho & Saul 2009: from orthogonal inputs to 1 / pi
    _, c_L = RandomLayers("relu", 2.0, 0.0).trace(1.0, 0.0, 2)
    assert c_L == pytest.approx([0, 1 / math.pi], rel=1e-9)


def test_replicas_of_a_relu_network_spread_as_the_law_of_finite_width_says():
    rng, depth, width, count = np.random.default_rng(0), 8, 128, 1500
    z = rng.standard_normal((count, width))
    for _ in range(depth - 1):
        q = 2 * np.mean(np.maximum(z, 0) ** 2, axis=1, keepdims=True)
        z = np.sqrt(q) * rng.standard_normal((count, width))
    logs = np.log(np.mean(z**2, axis=1))
    variance = log_variance(depth, width)
    # of next order in 1 / width, and the error of the sample
    assert logs.var() == pytest.approx(variance, rel=0.15)
    assert logs.mean() == pytest.approx(-variance / 2, abs=0.04)


# -- signals ---------------------------------------------------------------------------


def test_pairs_have_the_correlation_that_was_asked_for():
    x_NI = np.random.default_rng(0).standard_normal((8, 50)) + 0.5
    for wanted in (0.0, 0.9):
        first, second = pair_up(x_NI, wanted)
        cosine = (first * second).sum(axis=1) / 50
        assert_allclose(cosine, wanted, atol=1e-12)
        assert_allclose((second**2).mean(axis=1), 1)
        assert_allclose(first * x_NI[0::2] > -1e-12, True)


def test_signals_are_those_of_plain_torch():
    spec = spec_of(PROTOCOLS["quick"], "tanh", 2.0, 3, trained=False)
    x = torch.randn(4, 20, dtype=torch.float64)
    z_LBO, gradient_LBO = propagate(spec, x, 1)
    weights = draw_weights(spec, 20, 10, replicas=[1])
    layers = []
    for _, layer in weights.items():
        linear = nn.Linear(*layer.w.shape[1:]).double()
        linear.load_state_dict({"weight": layer.w[0].T, "bias": layer.b[0]})
        layers += [linear, nn.Tanh()]
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(4, 10, generator=generator).double()
    outputs, kept = x, []
    for module in layers[:-1]:
        outputs = module(outputs)
        if isinstance(module, nn.Linear):
            outputs.retain_grad()
            kept.append(outputs)
    (outputs * direction).sum().backward()
    for place, z in enumerate(kept[:-1]):
        assert_allclose(z_LBO[place], z.detach())
        assert_allclose(gradient_LBO[place], z.grad)


def test_correlations_of_pairs_are_cosines():
    z = np.random.default_rng(1).standard_normal((2, 12, 5))  # 2 starts, 2, 3 pairs
    found = correlate_pairs(z, 2)
    cosines = [
        np.dot(z[1, 6 + i], z[1, 9 + i])
        / np.linalg.norm(z[1, 6 + i])
        / np.linalg.norm(z[1, 9 + i])
        for i in range(3)
    ]
    assert found[1, 1] == pytest.approx(np.mean(cosines))


# -- readings --------------------------------------------------------------------------


def test_a_scale_and_a_factor_are_read_back_from_what_they_made():
    layers = np.arange(1, 41)
    distance = 0.9 * np.exp(-layers / 7.0)
    window = find_window(distance)
    assert read_scale(distance, window) == pytest.approx(7.0)
    assert distance[window].max() < 0.5 and distance[window].min() > 0.03
    assert len(find_window(np.full(40, 0.9))) == 0
    assert read_chi(-layers * math.log2(0.8)) == pytest.approx(0.8)


def test_the_quick_scale_runs_and_agrees_with_theory(tmp_path):
    results = run_experiment("critical-variance", tmp_path, "quick")
    facts = EXPERIMENT.summarize(results)
    assert facts["agreement"]["chi"]["of"] == 4
    assert facts["agreement"]["chi"]["largest_share"] < 0.15  # width 64, 3 replicas
    # the same numbers times a factor: the correlation of ReLU knows no variance
    relu = results["correlation"].sel(activation="relu")
    assert_allclose(relu[0], relu[-1], rtol=1e-5)
    assert np.isfinite(results["test_loss"]).all()
    assert results.sizes["start"] == len(STARTS)


# -- what ships ------------------------------------------------------------------------


def test_shipped_readings_have_theory_in_their_intervals():
    facts = EXPERIMENT.summarize(shipped_results("critical-variance"))
    agreement = facts["agreement"]
    agree = sum(one["agree"] for one in agreement.values())
    assert agree >= 0.85 * sum(one["of"] for one in agreement.values())
    assert agreement["chi"]["largest_share"] < 0.01
    assert agreement["last"]["largest"] < 0.02
    assert agreement["scale"]["largest_share"] < 0.2
    spread = facts["spread"]
    assert spread["low"] < spread["theory"] < spread["high"]


def test_no_shipped_network_deeper_than_six_depth_scales_was_trained():
    trained = EXPERIMENT.summarize(shipped_results("critical-variance"))["trained"]
    for one in trained.values():
        assert one["beyond"] >= 5 and one["beyond_trained"] == 0
        assert one["within_trained"] >= 0.75 * one["within"]
