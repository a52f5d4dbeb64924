"""Signals of random networks, theory beside them, and losses after training."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from birthmark.data import load_dataset
from birthmark.shapes import Array
from birthmark.spec import DataSpec
from birthmark.sweeps import Grid, run_grid
from birthmark.theory import RandomLayers
from birthmark_experiments.critical_variance.protocol import (
    BIASES,
    FINE,
    STARTS,
    Protocol,
    describe,
    spec_of,
)
from birthmark_experiments.critical_variance.readings import read_signals
from birthmark_experiments.critical_variance.signals import (
    correlate_pairs,
    pair_up,
    propagate,
)
from birthmark_experiments.frame import labelled

_NAMES = {
    "moment_theory": "second moment of pre-activations, theory",
    "gradient_theory": "second moment of gradients over the last layer's, theory",
    "correlation_theory": "correlation of two inputs' pre-activations, theory",
    "correlation_limit": "c*: correlation to which any two inputs tend, theory",
    "chi_limit": "chi_1: factor of the gradient's second moment a layer, theory",
    "depth_limit": "xi_c: layers in which the distance to c* falls by e, theory",
    "gradient_limit": "layers in which the gradient's moment changes by e, theory",
}


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Signals of random networks, theory beside them, and losses after training."""
    signals, theory = _measure_signals(protocol), _predict(protocol)
    readings = read_signals(signals, theory)
    trained = _train(protocol, folder)
    results = xr.merge([signals, theory, readings, trained], join="exact")
    results.attrs = {"protocol": describe(protocol), "width": protocol.width}
    return results


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
    fine = _find_limits(FINE)
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
        _coordinates(protocol) | {"fine_variance": list(FINE)},
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
