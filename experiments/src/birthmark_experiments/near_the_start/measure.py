"""Are minima found only near the start? Four tests on a network that trains well.

The loss on the line from start to end and beyond; layers of the trained network put
back; training confined to a ball around the start; training from a start that was moved
by a random step as long as the way that training goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from torch.nn.functional import cross_entropy

from birthmark.data import load_dataset
from birthmark.network import forward_stack, gather_layers
from birthmark.shapes import Array, Dataset
from birthmark.spec import RunSpec
from birthmark_experiments.frame.experiment import Experiment
from birthmark_experiments.frame.probes import as_inputs
from birthmark_experiments.near_the_start.facts import summarize
from birthmark_experiments.near_the_start.points import (
    Ball,
    Parameters,
    distances,
    draw_start,
    find_end,
    mix_points,
    move,
    put_back,
)

_RESULTS = {
    "train_loss": ("train loss, whole training set", "nat"),
    "test_loss": ("test loss", "nat"),
    "test_accuracy": ("test accuracy", "1"),
}


@dataclass(frozen=True)
class Protocol:
    """What one scale measures."""

    data: dict[str, Any]
    width: int
    epochs: int
    replicas: int
    alphas: tuple[float, ...]  # on the line: 0 the start, 1 the end
    radii: tuple[float, ...]  # of the ball, over the distance of free training
    moves: tuple[float, ...]  # lengths of the random step, likewise


PROTOCOLS = {
    "full": Protocol(
        data={"name": "mnist", "examples_per_class": 300},
        width=100,
        epochs=40,
        replicas=5,
        alphas=tuple(round(-0.5 + 0.05 * i, 2) for i in range(51)),
        radii=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0),
        moves=(0.5, 1.0, 2.0, 4.0),
    ),
    "quick": Protocol(
        data={"name": "digits", "examples_per_class": 30},
        width=16,
        epochs=4,
        replicas=3,
        alphas=(-0.5, 0.0, 0.5, 1.0, 2.0),
        radii=(0.3, 1.0),
        moves=(1.0,),
    ),
}


def spec_of(protocol: Protocol) -> RunSpec:
    """The free training, from which all else is measured."""
    return RunSpec(
        data=protocol.data,
        network={"widths": [protocol.width] * 2},
        training={
            "loss": "cross_entropy",
            "lr": 0.1,
            "batch_size": 64,
            "epochs": protocol.epochs,
        },
        run={"replicas": protocol.replicas, "seed": 0, "device": "cpu"},
        record={"epochs": (0,), "distributions": ()},
    )


def measure(scale: str, folder: Path) -> xr.Dataset:
    """All four tests; nothing is stored on the way, since they take a minute."""
    protocol = PROTOCOLS[scale]
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
    results = xr.merge(
        [
            _evaluate(line, "alpha", dataset, "line"),
            _evaluate(reset, "reset", dataset, "reset"),
            _evaluate(confined, "radius", dataset, "ball"),
            _evaluate(moved, "move", dataset, "moved"),
            _evaluate(ends, "move", dataset, "moved_end"),
        ]
    )
    for name, long_name, pairs in (
        ("moved_way", "distance that training went", (moved, ends)),
        ("moved_from_start", "distance of the end from the first start", (None, ends)),
    ):
        origin, tips = pairs
        values = [
            distances(tip, origin[length] if origin else start)
            for length, tip in tips.items()
        ]
        words = {"long_name": long_name, "units": "weight"}
        results[name] = (("move", "replica"), np.array(values, dtype=np.float32), words)
    results.attrs = {"protocol": _describe(protocol, spec, len(dataset.y_train))}
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
    return xr.Dataset(
        {
            f"{prefix}_{name}": (
                (dim, "replica"),
                np.array(found[name], dtype=np.float32),
                {"long_name": long_name, "units": units},
            )
            for name, (long_name, units) in _RESULTS.items()
        },
        {dim: list(points)},
    )


def _describe(protocol: Protocol, spec: RunSpec, num_examples: int) -> str:
    training, width = spec.training, protocol.width
    return (
        f"{protocol.data['name']}, {protocol.data['examples_per_class']} examples a "
        f"class ({num_examples} in all), pixels in [0, 1]; dense relu network "
        f"{width}-{width}, Glorot uniform; cross-entropy from logits, plain SGD, lr "
        f"{training.lr:g}, batch {training.batch_size}, {training.epochs} epochs; "
        f"{protocol.replicas} replicas, paired by start and order of batches; float32, "
        "seed 0."
    )


EXPERIMENT = Experiment(
    name="near-the-start",
    question="Are minima found only near the start?",
    data=("mnist",),
    measure=measure,
    summarize=summarize,
)
