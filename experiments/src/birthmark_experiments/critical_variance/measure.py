"""Signals of random networks, theory beside them, and losses after training.

Pairs of inputs are sent through, and a gradient is sent back; what is read of it,
replica by replica, is read in the same way of theory.
"""

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
from birthmark.store import open_store
from birthmark.theory import RandomLayers
from ..frame import gather
from ..frame.probes import stack_curves, train_all
from .protocol import BIASES, FINE, STARTS, Protocol, describe, spec_of

WINDOW = (0.03, 0.5)  # of the distance between two correlations: where xi_c is read
_LEAST = 3  # layers of a reading
_SETTLED = 10  # layers after which second moments have settled
_LAST = 8  # layers over which the correlation is read
_MET = 0.03  # of the distance: below it, both correlations have come to c*
_READ = {
    "chi": ("factor of the gradient's second moment per layer", "1"),
    "last": (f"correlation of two inputs in the last {_LAST} layers", "1"),
    "scale": ("layers in which the distance of two correlations falls by e", "1"),
}
_LIMITS = {
    "correlation_limit": ("c*: correlation to which any two inputs tend", "1"),
    "chi_limit": ("chi_1: factor of the gradient's second moment a layer", "1"),
    "depth_limit": ("xi_c: layers in which the distance to c* falls by e", "layers"),
    "gradient_limit": ("layers in which the gradient's moment changes by e", "layers"),
}
_SPREAD = "standard deviation over replicas of one input's moment"
_GRADIENT = "second moment of gradients over the last layer's, theory"
_CORRELATION = "correlation of two inputs' pre-activations"
_WORDS = {
    "moment": ("second moment of pre-activations, mean of logarithms", "log2"),
    "moment_spread": (_SPREAD, "log2"),
    "gradient": ("second moment of gradients, over the last layer's", "log2"),
    "correlation": (_CORRELATION, "1"),
    "moment_theory": ("second moment of pre-activations, theory", "log2"),
    "gradient_theory": (_GRADIENT, "log2"),
    "correlation_theory": (f"{_CORRELATION}, theory", "1"),
    **{n: (f"{x}, theory", unit) for n, (x, unit) in _LIMITS.items()},
    **{f"fine_{n}": (f"{x}, theory", unit) for n, (x, unit) in _LIMITS.items()},
    **{f"{name}_read": words for name, words in _READ.items()},
    **{f"{name}_expected": (f"{x}, theory", unit) for name, (x, unit) in _READ.items()},
    "test_loss": ("test loss after training", "nat"),
    "test_accuracy": ("test accuracy after training", "1"),
}


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Signals of random networks, theory beside them, and losses after training."""
    signals, theory = _measure_signals(protocol), _predict(protocol)
    parts = [signals, theory, read_signals(signals, theory), _train(protocol, folder)]
    results = xr.merge(parts, join="exact")
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
    spread = np.sqrt(moment.var(axis=2, ddof=1).mean(axis=2))
    values = {
        "moment": (dims, moment.mean(axis=3)),
        "moment_spread": ((*dims[:2], "layer"), spread),
        "gradient": (dims, gradient - gradient[..., -1:]),
        "correlation": ((*dims[:3], "start", "layer"), correlation),
    }
    coords = _coordinates(protocol) | {"replica": range(protocol.replicas)}
    return gather(_WORDS, values, coords)


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
    dims, fine = ("activation", "variance"), ("activation", "fine_variance")
    values = {
        "moment_theory": ((*dims, "layer"), moment),
        "gradient_theory": ((*dims, "layer"), gradient),
        "correlation_theory": ((*dims, "start", "layer"), correlation),
    }
    values |= {n: (dims, x) for n, x in _find_limits(protocol.variances).items()}
    values |= {f"fine_{n}": (fine, x) for n, x in _find_limits(FINE).items()}
    return gather(_WORDS, values, _coordinates(protocol) | {"fine_variance": FINE})


def _find_limits(variances: Sequence[float]) -> dict[str, Array]:
    """Constants of theory, each [activation, variance]."""
    laws = [[RandomLayers(a, v, b) for v in variances] for a, b in BIASES.items()]
    fields = ("fixed_correlation", "chi", "depth_scale", "gradient_scale")
    return {
        name: np.array([[getattr(one, field) for one in row] for row in laws])
        for name, field in zip(_LIMITS, fields, strict=True)
    }


def _train(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Test loss and accuracy after one pass through the share of the data."""
    axes = (tuple(BIASES), protocol.variances, protocol.trained_depths)
    specs = [
        spec_of(protocol, activation, variance, depth, trained=True)
        for activation, variance, depth in itertools.product(*axes)
    ]
    records = train_all(specs, open_store(folder / "store", create=True))
    shape = (*map(len, axes), protocol.trained_replicas)
    dims = ("activation", "variance", "depth", "trained_replica")
    values = {
        name: (dims, stack_curves(records, name)[:, -1].reshape(shape))
        for name in ("test_loss", "test_accuracy")
    }
    return gather(_WORDS, values, dict(zip(dims, axes, strict=False)))


def _coordinates(protocol: Protocol) -> dict[str, Any]:
    return {
        "activation": list(BIASES),
        "variance": list(protocol.variances),
        "layer": range(1, protocol.depth + 1),
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

    B counts S starts, then the two of a pair, then the pairs.
    """
    z = z_LBO.reshape(len(z_LBO), num_starts, 2, -1, z_LBO.shape[-1])
    u, v = z[:, :, 0], z[:, :, 1]
    norms = np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1)
    return np.asarray(((u * v).sum(axis=-1) / norms).mean(axis=-1).T)


def read_signals(signals: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """chi_1, the last correlation and the depth scale of each network.

    Theory is read in the same way, from its curves over the same layers: what differs
    then is the finite width, not the finite depth. The last correlation is NaN where
    two starts are still apart, the scale where the window has too few layers or the
    correlations fall by no exponential.
    """
    dims = ("activation", "variance", "replica")
    correlation = signals["correlation"].transpose(*dims, "start", "layer").to_numpy()
    gradient = signals["gradient"].transpose(*dims, "layer").to_numpy()
    expected = theory["correlation_theory"].transpose(*dims[:2], "start", "layer")
    shape = correlation.shape[:3]
    read = {name: np.full(shape, np.nan) for name in _READ}
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
    values: dict[str, Any] = {f"{name}_read": (dims, x) for name, x in read.items()}
    values |= {f"{name}_expected": (dims[:2], x) for name, x in aim.items()}
    found = gather(_WORDS, values, {})
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
    others = [np.delete(distance_RL, r, axis=0).mean(axis=0) for r in range(n)]
    return n * whole - (n - 1) * np.array([read_scale(one, window) for one in others])
