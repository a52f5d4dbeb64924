"""Signals of random networks, theory beside them, and losses after training.

Pairs of inputs are sent through, and a gradient is sent back; what is read of it,
replica by replica, is read in the same way of theory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from birthmark.data import load_dataset
from birthmark.network import draw_weights
from birthmark.shapes import Array
from birthmark.spec import DataSpec, RunSpec
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
from birthmark_experiments.frame import labelled, variable

_NAMES = {
    "moment_theory": "second moment of pre-activations, theory",
    "gradient_theory": "second moment of gradients over the last layer's, theory",
    "correlation_theory": "correlation of two inputs' pre-activations, theory",
    "correlation_limit": "c*: correlation to which any two inputs tend, theory",
    "chi_limit": "chi_1: factor of the gradient's second moment a layer, theory",
    "depth_limit": "xi_c: layers in which the distance to c* falls by e, theory",
    "gradient_limit": "layers in which the gradient's moment changes by e, theory",
}
WINDOW = (0.03, 0.5)  # of the distance between two correlations: where xi_c is read
_LEAST = 3  # layers of a reading
_SETTLED = 10  # layers after which second moments have settled
_LAST = 8  # layers over which the correlation is read
_MET = 0.03  # of the distance: below it, both correlations have come to c*


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
            "moment": variable(
                dims,
                moment.mean(axis=3),
                "second moment of pre-activations, mean of logarithms",
                "log2",
            ),
            "moment_spread": variable(
                (*dims[:2], "layer"),
                np.sqrt(moment.var(axis=2, ddof=1).mean(axis=2)),
                "standard deviation over replicas of one input's moment",
                "log2",
            ),
            "gradient": variable(
                dims,
                gradient - gradient[..., -1:],
                "second moment of gradients, over the last layer's",
                "log2",
            ),
            "correlation": variable(
                (*dims[:3], "start", "layer"),
                correlation,
                "correlation of two inputs' pre-activations",
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
            name: variable(where, values, _NAMES[name], units)
            for name, (where, values, units) in curves.items()
        }
        | {
            name: variable(dims, values, _NAMES[name], units)
            for name, (values, units) in _find_limits(protocol.variances).items()
        }
        | {
            f"fine_{name}": variable(
                ("activation", "fine_variance"), values, _NAMES[name], units
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
            name: variable(
                dims,
                np.array(values[name], dtype=np.float32).reshape(shape),
                f"{text} after training",
                "nat" if "loss" in name else "1",
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


def pair_up(x_NI: Array, correlation: float) -> Array:
    """Pairs of inputs of second moment 1 with exactly this correlation, [2, N/2, I].

    The second of a pair is made from the first and from the part of another example
    that is orthogonal to it.
    """
    first, other = x_NI[0::2], x_NI[1::2]
    size = np.sqrt(x_NI.shape[1])
    first = size * first / np.linalg.norm(first, axis=1, keepdims=True)
    shadow = (first * other).sum(axis=1, keepdims=True) / size**2
    aside = other - shadow * first
    aside = size * aside / np.linalg.norm(aside, axis=1, keepdims=True)
    return np.stack([first, correlation * first + np.sqrt(1 - correlation**2) * aside])


def propagate(spec: RunSpec, x_BI: torch.Tensor, replica: int) -> tuple[Array, Array]:
    """Pre-activations of the hidden layers, and gradients by them, each [L, B, O].

    The gradient is that of the outputs along one random direction an example.
    """
    weights = draw_weights(spec, x_BI.shape[1], 10, replicas=[replica])
    function = {"tanh": torch.tanh, "relu": torch.relu}[spec.network.activation]
    kept = []
    signal = x_BI
    for _, layer in weights.items():
        z_BO = torch.addmm(layer.b[0], signal, layer.w[0]).requires_grad_()
        z_BO.retain_grad()
        kept.append(z_BO)
        signal = function(z_BO)
    generator = torch.Generator().manual_seed(replica)
    kept[-1].backward(torch.randn(kept[-1].shape, generator=generator).double())  # type: ignore[no-untyped-call]
    hidden = kept[:-1]
    gradients = [z.grad.numpy() for z in hidden if z.grad is not None]
    return np.stack([z.detach().numpy() for z in hidden]), np.stack(gradients)


def correlate_pairs(z_LBO: Array, num_starts: int) -> Array:
    """Mean over pairs of the cosine of the two of a pair, [S, L].

    Args:
        z_LBO: B counts S starts, then the two of a pair, then the pairs.
        num_starts: S.
    """
    z = z_LBO.reshape(len(z_LBO), num_starts, 2, -1, z_LBO.shape[-1])
    u, v = z[:, :, 0], z[:, :, 1]
    norms = np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1)
    return np.asarray(((u * v).sum(axis=-1) / norms).mean(axis=-1).T)


def read_signals(signals: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """chi_1, the last correlation and the depth scale of each network.

    Theory is read in the same way, from its curves over the same layers: what differs
    then is the finite width, not the finite depth.

    Returns:
        `chi`, `last`, `scale`, each `_read` (activation, variance, replica) and
        `_expected` (activation, variance). The last correlation is NaN where two
        starts are still apart, the scale where the window has too few layers or the
        correlations fall by no exponential.
    """
    dims = ("activation", "variance", "replica")
    correlation = signals["correlation"].transpose(*dims, "start", "layer").to_numpy()
    gradient = signals["gradient"].transpose(*dims, "layer").to_numpy()
    expected = theory["correlation_theory"].transpose(*dims[:2], "start", "layer")
    shape = correlation.shape[:3]
    read = {name: np.full(shape, np.nan) for name in ("chi", "last", "scale")}
    aim = {name: np.full(shape[:2], np.nan) for name in read}
    for place in np.ndindex(shape[:2]):
        c_RSL, c_SL = correlation[place], expected.to_numpy()[place]
        read["chi"][place] = read_chi(gradient[place])
        aim["chi"][place] = read_chi(theory["gradient_theory"].to_numpy()[place])
        distance_RL, distance_L = c_RSL[:, 1] - c_RSL[:, 0], c_SL[1] - c_SL[0]
        if distance_L[-1] < _MET:
            read["last"][place] = c_RSL[..., -_LAST:].mean(axis=(1, 2))
            aim["last"][place] = c_SL[:, -_LAST:].mean()
        window = find_window(distance_L)
        decays = math.isfinite(float(theory["depth_limit"].to_numpy()[place]))
        if decays and len(window):
            read["scale"][place] = _jackknife(distance_RL, window)
            aim["scale"][place] = read_scale(distance_L, window)
    words = {
        "chi": ("factor of the gradient's second moment per layer", "1"),
        "last": (f"correlation of two inputs in the last {_LAST} layers", "1"),
        "scale": ("layers in which the distance of two correlations falls by e", "1"),
    }
    found = xr.Dataset()
    for name, (long_name, units) in words.items():
        found[f"{name}_read"] = (dims, read[name])
        found[f"{name}_expected"] = (dims[:2], aim[name])
        for kind, suffix in (("read", ""), ("expected", ", theory")):
            found[f"{name}_{kind}"].attrs = labelled(long_name + suffix, units)
    found["scale_read"].attrs["note"] = "jackknife pseudo-values: their mean counts"
    return found


def read_chi(gradient_L: Array) -> Array:
    """The mean factor per layer from log2 of the gradient's moment, [..., L] to [...].

    From behind the first layers, where second moments have settled, to the last.
    """
    settled = min(_SETTLED, gradient_L.shape[-1] // 2)
    span = gradient_L.shape[-1] - 1 - settled
    return np.asarray(2 ** ((gradient_L[..., settled] - gradient_L[..., -1]) / span))


def find_window(distance_L: Array) -> Array:
    """The layers in which theory's distance of two correlations lies in the window."""
    low, high = WINDOW
    layers = np.flatnonzero((distance_L > low) & (distance_L < high))
    return layers if len(layers) >= _LEAST else layers[:0]


def read_scale(distance_L: Array, layers: Array) -> float:
    """Layers in which a distance falls by e: the slope of its logarithm."""
    slope = np.polyfit(layers, np.log(distance_L[layers]), 1)[0]
    return float(-1 / slope)


def _jackknife(distance_RL: Array, window: Array) -> Array:
    """Pseudo-values of the scale that the mean over replicas has (Tukey 1958), [R].

    A single replica's distance may pass through 0, where it has no logarithm.
    """
    n = len(distance_RL)
    whole = read_scale(distance_RL.mean(axis=0), window)
    without = [
        read_scale(np.delete(distance_RL, r, axis=0).mean(axis=0), window)
        for r in range(n)
    ]
    return n * whole - (n - 1) * np.array(without)
