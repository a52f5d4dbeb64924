"""How far each layer has moved from its start, at each record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from birthmark.analysis.studies import Run
from birthmark.shapes import Array
from birthmark.statistics import summarize_curves


@dataclass(frozen=True)
class Layers:
    """The relative distance of every layer over replicas, with its interval."""

    layers: tuple[str, ...]  # [L]
    epochs: Array  # [T] with a record, after the start
    mean: Array  # [T, L] geometric; NaN where none has moved
    low: Array  # [T, L] 95 %, Student's t; the mean itself for a single replica
    high: Array  # [T, L]
    num_replicas: int  # R


def find_layers(runs: Sequence[Run]) -> Layers:
    """The relative distances by layer and epoch, over the replicas of all the runs.

    Runs that were recorded at other epochs than the first are left out.
    """
    layers, epochs, values_TLR = _read(runs)
    curve = summarize_curves(values_TLR, "log")
    low = np.where(np.isfinite(curve.low), curve.low, curve.mean)
    high = np.where(np.isfinite(curve.high), curve.high, curve.mean)
    return Layers(layers, epochs, curve.mean, low, high, values_TLR.shape[2])


def final_distances(runs: Sequence[Run]) -> list[tuple[str, float]]:
    """The mean relative distance of each layer at the last record, over replicas."""
    if "relative_distance" not in runs[0].arrays:
        return []
    layers, epochs, values_TLR = _read(runs)
    if not len(epochs):
        return []
    pairs = zip(layers, summarize_curves(values_TLR[-1]).mean, strict=True)
    return [(name, float(value)) for name, value in pairs if np.isfinite(value)]


def _read(runs: Sequence[Run]) -> tuple[tuple[str, ...], Array, Array]:
    """Layers, epochs with a record after the start, and the distances [T, L, R]."""
    first = runs[0]
    layers = tuple(str(name) for name in first.arrays["layer"].to_numpy())
    values_TLR = np.concatenate(
        [
            np.stack([run.values("relative_distance", one) for one in layers], axis=1)
            for run in runs
            if np.array_equal(run.epochs, first.epochs)
        ],
        axis=2,
    )
    recorded = np.isfinite(values_TLR).any(axis=(1, 2)) & (first.epochs > 0)
    return layers, first.epochs[recorded], values_TLR[recorded]


def name_layer(layer: str) -> str:
    """A layer as a label: those of `nn.Sequential` are numbers."""
    return f"layer {layer}" if layer.isdigit() else layer
