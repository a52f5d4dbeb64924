"""What is read of random networks, replica by replica, and what theory gives there."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from birthmark.shapes import Array
from birthmark_experiments.frame import labelled

WINDOW = (0.03, 0.5)  # of the distance between two correlations: where xi_c is read
_LEAST = 3  # layers of a reading
_SETTLED = 10  # layers after which second moments have settled
_LAST = 8  # layers over which the correlation is read
_MET = 0.03  # of the distance: below it, both correlations have come to c*


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
