"""Thirty layers against closed forms and plain torch."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from birthmark.data import load_dataset
from birthmark.network import draw_weights
from birthmark.spec import RunSpec
from birthmark_experiments import run_experiment, shipped_results
from birthmark_experiments.depth import EXPERIMENT
from birthmark_experiments.depth.measure import read_signals
from birthmark_experiments.depth.protocol import INITIALIZATIONS, PROTOCOLS, spec_of

DEPTH, WIDTH = 30, 256


def square_network(start):
    """30 layers of equal width on the 64 pixels of digits, each of 64 units."""
    return RunSpec(
        data={"name": "digits", "preprocessing": "standardized"},
        network={"widths": [64] * DEPTH},
        initialization=INITIALIZATIONS[start],
    )


@pytest.mark.parametrize(
    ("start", "factor"),
    [("Xavier", 1 / 2), ("He", 1), ("orthogonal", 1), ("PyTorch, zero biases", 1 / 6)],
)
def test_a_layer_multiplies_the_signal_by_half_its_weights_variance(start, factor):
    """He et al. 1502.01852, eq. 9, at equal widths: fan_in Var(w) / 2 a layer."""
    dataset = load_dataset("digits")
    spec = square_network(start)
    forward = read_signals(spec, dataset, 16, 0)[:, 0]
    expected = (1 + np.arange(DEPTH)) * math.log2(factor) + 1
    assert_allclose(forward[1], expected, atol=0.6)
    # and the network itself, within three times the spread of width 64
    spread = math.sqrt(5 * DEPTH / 64) / math.log(2)
    assert abs(forward[0, -1] - expected[-1]) < 3 * spread + spread**2 / 2


def test_signals_are_those_of_plain_torch():
    spec = spec_of(PROTOCOLS["quick"], "convolutional", "PyTorch", lr=1.0)
    dataset = load_dataset(spec.data)
    measured = read_signals(spec, dataset, 16, 1)[0]
    weights = draw_weights(
        spec, 64, 10, replicas=[1], image_shape=dataset.example_shape
    )
    pixels = (dataset.x_test[:16] / 16 - dataset.mean) / dataset.std
    x = torch.from_numpy(pixels).float().reshape(16, 1, 8, 8)
    outputs, kept = x, []
    for name, layer in weights.items():
        if name == "output":
            break
        inputs = outputs.shape[1]
        conv = nn.Conv2d(inputs, 4, 3, stride=2 if not kept else 1, padding=1)
        conv.weight.data = layer.w[0].T.reshape(4, inputs, 3, 3)
        conv.bias.data = layer.b[0]
        outputs = conv(outputs)
        outputs.retain_grad()
        kept.append(outputs)
        outputs = torch.relu(outputs)
    last = weights["output"]
    logits = outputs.mean(dim=(2, 3)) @ last.w[0] + last.b[0]
    y = torch.tensor(dataset.y_test[:16])
    nn.functional.cross_entropy(logits, y, reduction="sum").backward()
    i, j = np.triu_indices(16, 1)
    for place, z in enumerate(kept):
        moment = float(z.detach().square().mean() / x.square().mean())
        assert measured[0, place] == pytest.approx(math.log2(moment), abs=1e-3)
        gradient = float(z.grad.square().mean())
        assert measured[1, place] == pytest.approx(math.log2(gradient), abs=1e-3)
        flat = z.detach().flatten(1).double().numpy()
        flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
        gap = 1 - float((flat @ flat.T)[i, j].mean())
        assert measured[2, place] == pytest.approx(math.log10(gap), abs=1e-2)


def test_the_quick_scale_runs(tmp_path):
    results = run_experiment("depth", tmp_path, "quick")
    facts = EXPERIMENT.summarize(results)
    for comparison in facts["comparisons"].values():
        for start, losses in comparison["scan"].items():
            if losses:  # of the several rates that were tried, the best
                best = comparison["lrs"][int(np.argmin(losses))]
                assert comparison["lr"][start] == best
        assert set(comparison["scan"]) == set(INITIALIZATIONS)
        # at the start nothing is known: the loss of a guess, where the signal is small
        assert comparison["final_loss"]["PyTorch, zero biases"] == pytest.approx(
            math.log(10), abs=0.1
        )
    # energies on the way through a map of `side` places, kernels of ones, zero padding
    side = facts["side"]
    assert side == 4
    neighbours = np.eye(side) + np.eye(side, k=1) + np.eye(side, k=-1)
    settled = (np.linalg.eigvalsh(neighbours).max() / 3) ** 2
    assert facts["settled_loss"] == pytest.approx(-math.log2(settled))
    assert facts["even_loss"] == pytest.approx(
        -2 * math.log2(neighbours.mean() * side / 3)
    )
    shrunk = facts["signals"]["dense"]["PyTorch, zero biases"]["forward"]
    assert shrunk["mean"] < shrunk["theory"] + 3 < 0


# -- what ships ------------------------------------------------------------------------


def test_shipped_signals_are_what_theory_says_at_finite_width():
    facts = EXPERIMENT.summarize(shipped_results("depth"))
    dense = facts["signals"]["dense"]
    for start in ("Xavier", "He", "PyTorch, zero biases"):
        forward = dense[start]["forward"]
        # the mean of logarithms lies below theory, by `shift` for a single input
        assert forward["high"] > forward["theory"] + facts["shift"]
        assert forward["low"] < forward["theory"]
    per_layer = (dense["PyTorch, zero biases"]["forward"]["mean"]) / DEPTH
    assert per_layer == pytest.approx(math.log2(1 / 6), abs=0.1)
    # biases of variance 1 / (3 n) hold the moment at 0.4 / n, and hide the input
    held = dense["PyTorch"]
    moment = math.log2(0.4 / facts["width"])
    assert held["forward"]["mean"] == pytest.approx(moment, abs=0.5)
    assert held["gap"]["mean"] < 1e-9


def test_shipped_training_stalls_where_the_signal_does():
    facts = EXPERIMENT.summarize(shipped_results("depth"))
    for comparison in facts["comparisons"].values():
        for start in ("PyTorch", "PyTorch, zero biases"):
            assert comparison["final_loss"][start] == pytest.approx(
                math.log(10), abs=0.02
            )
        assert comparison["final_loss"]["He"] < math.log(10) - 0.1
