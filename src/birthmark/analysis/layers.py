"""How far each layer of a run has moved from its start, at each record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from birthmark.analysis.studies import Run
from birthmark.shapes import Array
from birthmark.statistics import summarize_curves


@dataclass(frozen=True)
class Layers:
    """The relative distance of every layer, mean over replicas with its interval."""

    layers: tuple[str, ...]  # [L]
    epochs: Array  # [T] with a record, after the start
    mean: Array  # [T, L]
    low: Array  # [T, L] 95 %, Student's t; the mean itself for a single replica
    high: Array  # [T, L]


def find_layers(run: Run) -> Layers:
    """The relative distances of a run, by layer and epoch."""
    layers = tuple(str(name) for name in run.records["layer"].to_numpy())
    by_layer = [run.values("relative_distance", name) for name in layers]
    values_TLR = np.stack(by_layer, axis=1)
    recorded = np.isfinite(values_TLR).any(axis=(1, 2)) & (run.epochs > 0)
    curve = summarize_curves(values_TLR[recorded])
    low = np.where(np.isfinite(curve.low), curve.low, curve.mean)
    high = np.where(np.isfinite(curve.high), curve.high, curve.mean)
    return Layers(layers, run.epochs[recorded], curve.mean, np.maximum(low, 0), high)
