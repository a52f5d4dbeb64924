"""The variance of the weights, swept through its critical value.

Signals of random deep networks against mean-field theory (`mean_field`), and which
depths such networks can be trained at.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from birthmark.data import load_dataset
from birthmark.shapes import Array
from birthmark.spec import DataSpec, RunSpec
from birthmark.sweeps import Grid, run_grid
from birthmark_experiments.critical_variance.facts import summarize
from birthmark_experiments.critical_variance.readings import read_signals
from birthmark_experiments.critical_variance.signals import (
    correlate_pairs,
    pair_up,
    propagate,
)
from birthmark_experiments.frame.experiment import Experiment, labelled
from birthmark_experiments.frame.mean_field import RandomLayers

BIASES = {"tanh": 0.05, "relu": 0.0}  # variance of the biases, fixed
STARTS = (0.0, 0.9)  # correlations of the two inputs of a pair
_SEED = 0
_FINE = tuple(round(0.5 + 0.05 * i, 2) for i in range(71))  # where theory is drawn
_NAMES = {
    "moment_theory": "second moment of pre-activations, theory",
    "gradient_theory": "second moment of gradients over the last layer's, theory",
    "correlation_theory": "correlation of two inputs' pre-activations, theory",
    "correlation_limit": "c*: correlation to which any two inputs tend, theory",
    "chi_limit": "chi_1: factor of the gradient's second moment a layer, theory",
    "depth_limit": "xi_c: layers in which the distance to c* falls by e, theory",
    "gradient_limit": "layers in which the gradient's moment changes by e, theory",
}


@dataclass(frozen=True)
class Protocol:
    """What one scale measures."""

    data: str
    variances: tuple[float, ...]
    width: int
    depth: int  # hidden layers that signals go through
    replicas: int
    pairs: int
    trained_width: int
    trained_depths: tuple[int, ...]
    trained_replicas: int
    examples_per_class: int
    batch_size: int
    lr: float


PROTOCOLS = {
    "full": Protocol(
        data="mnist",
        variances=(0.5, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0),
        width=256,
        depth=64,
        replicas=16,
        pairs=32,
        trained_width=100,
        trained_depths=(4, 8, 16, 28, 40),
        trained_replicas=3,
        examples_per_class=1920,
        batch_size=64,
        lr=0.01,
    ),
    "quick": Protocol(
        data="digits",
        variances=(1.0, 2.0, 3.0),
        width=64,
        depth=16,
        replicas=3,
        pairs=8,
        trained_width=16,
        trained_depths=(2, 8),
        trained_replicas=2,
        examples_per_class=32,
        batch_size=32,
        lr=0.05,
    ),
}


def measure(scale: str, folder: Path) -> xr.Dataset:
    """Signals of random networks, theory beside them, and losses after training."""
    protocol = PROTOCOLS[scale]
    signals, theory = _measure_signals(protocol), _predict(protocol)
    readings = read_signals(signals, theory)
    trained = _train(protocol, folder)
    results = xr.merge([signals, theory, readings, trained], join="exact")
    results.attrs = {"protocol": _describe(protocol), "width": protocol.width}
    return results


def spec_of(
    protocol: Protocol, activation: str, variance: float, depth: int, *, trained: bool
) -> RunSpec:
    """A network of this law: one that is trained, or one that signals go through."""
    bias = BIASES[activation]
    width = protocol.trained_width if trained else protocol.width
    return RunSpec(
        data={
            "name": protocol.data,
            "preprocessing": "standardized",
            "examples_per_class": protocol.examples_per_class,
        },
        network={"widths": [width] * depth, "activation": activation},
        initialization={
            "name": "variance_scaling",
            "scale": variance,
            "distribution": "normal",
            "bias": {"name": "normal", "std": bias**0.5} if bias else {"name": "zeros"},
        },
        training={
            "loss": "cross_entropy",
            "lr": protocol.lr,
            "batch_size": protocol.batch_size,
            "epochs": 1,
        },
        run={
            "replicas": protocol.trained_replicas if trained else protocol.replicas,
            "seed": _SEED,
            "dtype": "float32" if trained else "float64",
            "device": "cpu",
        },
        record={"epochs": (0,), "distributions": (0,)},
    )


def _measure_signals(protocol: Protocol) -> xr.Dataset:
    spec = DataSpec(name=protocol.data, preprocessing="standardized")
    dataset = load_dataset(spec)
    pixels = dataset.x_test[: 2 * protocol.pairs] / dataset.full_scale
    x_NI = (pixels - dataset.mean) / dataset.std
    pairs = np.stack([pair_up(x_NI, start) for start in STARTS])  # [S, 2, N, I]
    x = torch.from_numpy(pairs.reshape(-1, pairs.shape[-1]))
    axes = (len(BIASES), len(protocol.variances), protocol.replicas)
    moment = np.zeros((*axes, x.shape[0], protocol.depth))
    gradient = np.zeros((*axes, protocol.depth))
    correlation = np.zeros((*axes, len(STARTS), protocol.depth))
    for a, activation in enumerate(BIASES):
        for v, variance in enumerate(protocol.variances):
            run = spec_of(protocol, activation, variance, protocol.depth, trained=False)
            for r in range(protocol.replicas):
                z_LBO, gradient_LBO = propagate(run, x, r)
                moment[a, v, r] = np.log2(np.mean(z_LBO**2, axis=2)).T
                gradient[a, v, r] = np.log2(np.mean(gradient_LBO**2, axis=(1, 2)))
                correlation[a, v, r] = correlate_pairs(z_LBO, len(STARTS))
    dims = ("activation", "variance", "replica", "layer")
    return xr.Dataset(
        {
            "moment": (
                dims,
                np.float32(moment.mean(axis=3)),
                labelled(
                    "second moment of pre-activations, mean of logarithms", "log2"
                ),
            ),
            "moment_spread": (
                (*dims[:2], "layer"),
                np.float32(np.sqrt(moment.var(axis=2, ddof=1).mean(axis=2))),
                labelled(
                    "standard deviation over replicas of one input's moment", "log2"
                ),
            ),
            "gradient": (
                dims,
                np.float32(gradient - gradient[..., -1:]),
                labelled("second moment of gradients, over the last layer's", "log2"),
            ),
            "correlation": (
                (*dims[:3], "start", "layer"),
                np.float32(correlation),
                labelled("correlation of two inputs' pre-activations", "1"),
            ),
        },
        _coordinates(protocol)
        | {"replica": np.arange(protocol.replicas, dtype=np.int32)},
    )


def _predict(protocol: Protocol) -> xr.Dataset:
    """Theory layer by layer at the measured variances, and its limits there."""
    axes, depth = (len(BIASES), len(protocol.variances)), protocol.depth
    moment, gradient = np.zeros((*axes, depth)), np.zeros((*axes, depth))
    correlation = np.zeros((*axes, len(STARTS), depth))
    for a, (activation, bias) in enumerate(BIASES.items()):
        for v, variance in enumerate(protocol.variances):
            law = RandomLayers(activation, variance, bias)
            for s, start in enumerate(STARTS):
                q_L, correlation[a, v, s] = law.trace(1.0, start, depth)
            moment[a, v] = np.log2(q_L)
            factors = np.log2([law.gradient_factor(q) for q in q_L[:-1]])
            gradient[a, v, :-1] = factors[::-1].cumsum()[::-1]
    dims = ("activation", "variance")
    curves = {
        "moment_theory": ((*dims, "layer"), moment, "log2"),
        "gradient_theory": ((*dims, "layer"), gradient, "log2"),
        "correlation_theory": ((*dims, "start", "layer"), correlation, "1"),
    }
    fine = _find_limits(_FINE)
    return xr.Dataset(
        {
            name: (where, np.float32(values), labelled(_NAMES[name], units))
            for name, (where, values, units) in curves.items()
        }
        | {
            name: (dims, values, labelled(_NAMES[name], units))
            for name, (values, units) in _find_limits(protocol.variances).items()
        }
        | {
            f"fine_{name}": (
                ("activation", "fine_variance"),
                values,
                labelled(_NAMES[name], units),
            )
            for name, (values, units) in fine.items()
        },
        _coordinates(protocol) | {"fine_variance": list(_FINE)},
    )


def _find_limits(variances: Sequence[float]) -> dict[str, tuple[Array, str]]:
    """Constants of theory, each [activation, variance], with their units."""
    laws = [[RandomLayers(a, v, b) for v in variances] for a, b in BIASES.items()]
    kinds = {
        "correlation_limit": ("fixed_correlation", "1"),
        "chi_limit": ("chi", "1"),
        "depth_limit": ("depth_scale", "layers"),
        "gradient_limit": ("gradient_scale", "layers"),
    }
    return {
        name: (np.array([[getattr(one, field) for one in row] for row in laws]), units)
        for name, (field, units) in kinds.items()
    }


def _train(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Test loss and accuracy after one pass through the share of the data."""
    axes = (tuple(BIASES), protocol.variances, protocol.trained_depths)
    specs = [
        spec_of(protocol, activation, variance, depth, trained=True)
        for activation, variance, depth in itertools.product(*axes)
    ]
    results = run_grid(Grid(tuple(specs)), folder / "store")
    shape = (*map(len, axes), protocol.trained_replicas)
    names = {"test_loss": "test loss", "test_accuracy": "test accuracy"}
    values: dict[str, list[Array]] = {name: [] for name in names}
    for one in results:
        records = one.store.records(one.run_key, distributions=False)
        for name, found in values.items():
            found.append(records[name].to_numpy()[-1])
    dims = ("activation", "variance", "depth", "trained_replica")
    return xr.Dataset(
        {
            name: (
                dims,
                np.array(values[name], dtype=np.float32).reshape(shape),
                labelled(f"{text} after training", "nat" if "loss" in name else "1"),
            )
            for name, text in names.items()
        },
        {
            "activation": list(BIASES),
            "variance": list(protocol.variances),
            "depth": np.array(protocol.trained_depths, dtype=np.int32),
        },
    )


def _coordinates(protocol: Protocol) -> dict[str, Any]:
    return {
        "activation": list(BIASES),
        "variance": list(protocol.variances),
        "layer": np.arange(1, protocol.depth + 1, dtype=np.int32),
        "start": list(STARTS),
    }


def _describe(p: Protocol) -> str:
    steps = p.examples_per_class * 10 // p.batch_size
    return (
        f"Signals: dense networks of {p.depth} hidden layers of {p.width} units, "
        "weights N(0, sigma_w^2 / fan-in), biases N(0, 0.05) with tanh and 0 with "
        f"ReLU, float64, {p.replicas} replicas, seed {_SEED}; {p.pairs} pairs of "
        f"standardized {p.data} test images, scaled to second moment 1 and mixed to "
        f"correlations {STARTS[0]:g} and {STARTS[1]:g}. Training: the same laws, "
        f"{p.trained_width} units, depths {', '.join(map(str, p.trained_depths))}, "
        f"{p.data} ({p.examples_per_class} examples a class, standardized), cross-"
        f"entropy, SGD, lr {p.lr:g}, batch {p.batch_size}, one epoch of at most "
        f"{steps} steps, float32, {p.trained_replicas} replicas, seed {_SEED}."
    )


EXPERIMENT = Experiment(
    name="critical-variance",
    question="Why does the variance of the weights decide how deep a network can be?",
    data=("mnist",),
    measure=measure,
    summarize=summarize,
)
