"""All four tests; nothing is stored on the way, since they take a minute."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from torch.nn.functional import cross_entropy

from birthmark.data import load_dataset
from birthmark.network import forward_stack, gather_layers
from birthmark.shapes import Array, Dataset
from ..frame import gather, variables
from ..frame.probes import as_inputs
from .points import (
    Ball,
    Parameters,
    distances,
    draw_start,
    find_end,
    mix_points,
    move,
    put_back,
)
from .protocol import Protocol, describe, spec_of

_RESULTS = {
    "train_loss": ("train loss, whole training set", "nat"),
    "test_loss": ("test loss", "nat"),
    "test_accuracy": ("test accuracy", "1"),
}

_WORDS = {
    "moved_way": ("distance that training went", "weight"),
    "moved_from_start": ("distance of the end from the first start", "weight"),
}


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """All four tests; nothing is stored on the way, since they take a minute."""
    spec = spec_of(protocol)
    dataset = load_dataset(spec.data)
    start = draw_start(spec, dataset)
    end = find_end(spec, dataset, start)
    way = distances(end, start)
    line = {alpha: mix_points(start, end, alpha) for alpha in protocol.alphas}
    reset = put_back(end, start, list(spec.network.layer_names))
    confined = {
        radius: find_end(spec, dataset, start, Ball(start, radius * way))
        for radius in protocol.radii
    }
    moved = {0.0: start} | {
        length: move(start, end, length, spec.run.seed) for length in protocol.moves
    }
    ends = {
        length: find_end(spec, dataset, one) if length else end
        for length, one in moved.items()
    }
    tests: dict[str, tuple[str, dict[Any, Parameters]]] = {
        "line": ("alpha", line),
        "reset": ("reset", reset),
        "ball": ("radius", confined),
        "moved": ("move", moved),
        "moved_end": ("move", ends),
    }
    parts = [_evaluate(at, dim, dataset, name) for name, (dim, at) in tests.items()]
    ways = [distances(end, moved[length]) for length, end in ends.items()]
    away = [distances(end, start) for end in ends.values()]
    dims = ("move", "replica")
    values = {"moved_way": (dims, ways), "moved_from_start": (dims, away)}
    results = xr.merge([*parts, gather(_WORDS, values, {})])
    results.attrs = {"protocol": describe(protocol, spec, len(dataset.y_train))}
    return results


def _evaluate(
    points: dict[Any, Parameters], dim: str, dataset: Dataset, prefix: str
) -> xr.Dataset:
    """Losses and test accuracy at points in weight space."""
    halves = {half: as_inputs(dataset, half) for half in ("train", "test")}
    found: dict[str, list[Array]] = {name: [] for name in _RESULTS}
    for parameters in points.values():
        for half, (x_NI, y_N) in halves.items():
            z_RNK = forward_stack(gather_layers(parameters), x_NI, "relu")
            losses = [float(cross_entropy(z_NK, y_N)) for z_NK in z_RNK]
            found[f"{half}_loss"].append(np.array(losses))
        right = (z_RNK.argmax(dim=-1) == y_N).double().mean(dim=1)
        found["test_accuracy"].append(right.numpy())
    named = variables((dim, "replica"), _RESULTS, found, f"{prefix}_")
    return xr.Dataset(named, {dim: list(points)})
