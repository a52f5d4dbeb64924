"""Arms of training where it collapses, and losses on lines and with layers put back.

The network is that of the page about abandoned examples. Free training is a run of the
store; the other arms begin where it began, are measured by the way to its best point,
and are saved one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from birthmark.data import load_dataset
from birthmark.network import forward_stack, gather_layers, name_parameters
from birthmark.shapes import Array, Dataset
from birthmark.spec import RunSpec
from birthmark.sweeps import run
from ..abandonment.protocol import keep_weights
from ..frame import coordinates, gather, recall, variables
from ..frame.probes import as_inputs, as_tensors
from ..frame.variables import name_curves
from ..near_the_start.points import (
    Ball,
    Parameters,
    distances,
    mix_points,
    move,
    put_back,
    shrink,
    train_from,
)
from .protocol import LOSSES, Condition, Protocol, describe_arms

_POINTS = {
    "train_loss": ("clipped loss, whole training set", "nat"),
    "train_accuracy": ("accuracy, whole training set", "1"),
    "below_eps": ("share of examples with a true class below the clip", "1"),
}
_AWAY = {
    "way": ("distance from where this arm began", "weight"),
    "from_start": ("distance from the start of free training", "weight"),
}
_WORDS = {
    "best_epoch": ("kept epoch with the lowest train loss", "epochs"),
    "best_way": ("distance from the start there", "weight"),
    "start_norm": ("norm of the start", "weight"),
}
_METRICS = ("train_loss", "train_accuracy", "test_accuracy", "below_eps")


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Curves of all arms, and losses on lines and with layers put back.

    Each arm is saved in the folder when it is done, so that what was stopped goes on.
    """
    frees = {loss: train_freely(protocol, loss, folder) for loss in LOSSES}
    spec = frees["clipped"].spec
    dataset = load_dataset(spec.data)
    curves = [
        read_free(frees[arm.loss], dataset)
        if arm.kind == "free"
        else carry_out(arm, protocol, frees[arm.loss], dataset, folder)
        for arm in protocol.arms
    ]
    fields = ("loss", "kind", "size")
    about = {x: ("arm", [getattr(arm, x) for arm in protocol.arms]) for x in fields}
    arms = xr.concat(curves, dim="arm").assign_coords(about)
    arms = arms.assign_coords(arm=[arm.name for arm in protocol.arms])
    dims, start = ("free", "replica"), frees["clipped"].start
    ways = [distances(free.best, free.start) for free in frees.values()]
    values = {
        "best_epoch": (dims, [free.best_R for free in frees.values()]),
        "best_way": (dims, ways),
        "start_norm": ("replica", distances(start, zeros(start))),
    }
    around = _look_around(protocol, frees["clipped"], dataset)
    named = gather(_WORDS, values, {"free": list(frees)})
    results = arms.merge(around).merge(named)
    results.attrs = {
        "protocol": describe_arms(protocol, len(dataset.y_train)),
        "eps": protocol.eps,
        "epochs": protocol.epochs,
        "every": protocol.every,
    }
    return results


def _look_around(protocol: Protocol, free: Free, dataset: Dataset) -> xr.Dataset:
    """On the lines to the best point and to the end, and with layers put back."""
    layers, eps = list(free.spec.network.layer_names), protocol.eps
    tips = {"best": free.best, "last": free.last}
    lines, resets = [], []
    for tip in tips.values():
        line = {alpha: mix_points(free.start, tip, alpha) for alpha in protocol.alphas}
        lines.append(_evaluate(line, dataset, eps, "alpha", "line"))
        points = put_back(tip, free.start, layers)
        resets.append(_evaluate(points, dataset, eps, "reset", "reset"))
    whole = [xr.concat(one, dim="tip") for one in (lines, resets)]
    return xr.merge(whole).assign_coords(tip=list(tips))


def _evaluate(
    points: Mapping[Any, Parameters], dataset: Dataset, eps: float, dim: str, name: str
) -> xr.Dataset:
    """The clipped loss and accuracy of the training set at points."""
    x_NI, y_N = as_inputs(dataset, "train")
    found: dict[str, list[Array]] = {each: [] for each in _POINTS}
    for parameters in points.values():
        z_RNK = forward_stack(gather_layers(parameters), x_NI, "relu")
        p_RN = z_RNK.softmax(dim=-1)[:, torch.arange(len(y_N)), y_N].double()
        right_RN = z_RNK.argmax(dim=-1) == y_N
        found["train_loss"].append(-p_RN.clamp(eps, 1 - eps).log().mean(dim=1).numpy())
        found["train_accuracy"].append(right_RN.double().mean(dim=1).numpy())
        found["below_eps"].append((p_RN < eps).double().mean(dim=1).numpy())
    named = variables((dim, "replica"), _POINTS, found, f"{name}_")
    return xr.Dataset(named, {dim: list(points)})


@dataclass(frozen=True)
class Free:
    """Training that nothing holds, and where it stood."""

    spec: RunSpec
    path: str
    records: xr.Dataset
    kept: dict[int, Parameters]  # by epoch
    best_R: Array  # kept epoch with the lowest train loss

    @property
    def start(self) -> Parameters:
        """Where all arms of this loss begin, or from where they are moved."""
        return self.kept[0]

    @property
    def best(self) -> Parameters:
        """Each replica at its best epoch."""
        rows = list(enumerate(self.best_R))
        return {
            n: torch.stack([self.kept[e][n][r] for r, e in rows]) for n in self.start
        }

    @property
    def last(self) -> Parameters:
        """At the end."""
        return self.kept[max(self.kept)]


def train_freely(protocol: Protocol, loss: str, folder: Path) -> Free:
    """The run that nothing holds; its weights are kept."""
    spec = keep_weights(protocol.before, protocol.eps, protocol.epochs, protocol.kept)
    spec = spec.with_settings(LOSSES[loss])
    store, key = (found := run(spec, folder / "store")).store, found.run_key
    records = store.records(key, distributions=False)
    kept = {
        epoch: name_parameters(as_tensors(store.weights(key, epoch)))
        for epoch in store.weights_epochs(key)
    }
    epochs = np.array(sorted(kept)[1:])
    losses_TR = records["train_loss"].transpose("step", "replica").to_numpy()[epochs]
    best_R, path = epochs[losses_TR.argmin(axis=0)], str(store.manifest(key)["path"])
    return Free(spec, path, records, kept, best_R)


def zeros(like: Parameters) -> Parameters:
    """The point at which all weights and biases are 0."""
    return {name: torch.zeros_like(tensor) for name, tensor in like.items()}


def carry_out(
    arm: Condition, protocol: Protocol, free: Free, dataset: Dataset, folder: Path
) -> xr.Dataset:
    """Train an arm, or read what it gave before."""
    about = [arm, protocol.every, protocol.kept, free.spec, free.path]
    return recall(folder, arm.name, about, lambda: _train(arm, protocol, free, dataset))


def _train(
    arm: Condition, protocol: Protocol, free: Free, dataset: Dataset
) -> xr.Dataset:
    start, ball = free.start, None
    if arm.kind in ("ball", "norm"):
        center = start if arm.kind == "ball" else zeros(start)
        radius_R = arm.size * distances(free.best, center)
        ball = Ball(center, radius_R, protocol.every)
    else:
        start = move(free.start, free.best, arm.size, free.spec.run.seed)
        start = shrink(start, free.start) if arm.kind == "shrunk" else start
    found: dict[str, list[Array]] = {name: [] for name in _METRICS}
    ways, froms = [np.zeros(len(free.best_R))], [distances(start, free.start)]
    trained = train_from(free.spec, dataset, start, ball=ball, path=free.path)
    for metrics, parameters in trained:
        for name in _METRICS:
            found[name].append(getattr(metrics, name))
        if metrics.epoch % protocol.kept == 0:
            ways.append(distances(parameters, start))
            froms.append(distances(parameters, free.start))
    curves = {name: np.array(values) for name, values in found.items()}
    return _name_curves(curves, np.array(ways), np.array(froms), free, dataset)


def read_free(free: Free, dataset: Dataset) -> xr.Dataset:
    """The curves of free training, as `carry_out` gives those of the others."""
    curves = {
        name: free.records[name].transpose("step", "replica").to_numpy()[1:]
        for name in _METRICS
    }
    ways = np.array([distances(one, free.start) for one in free.kept.values()])
    return _name_curves(curves, ways, ways, free, dataset)


def _name_curves(
    curves: dict[str, Array], ways: Array, froms: Array, free: Free, dataset: Dataset
) -> xr.Dataset:
    """One arm: metrics of each epoch from 1 on, distances at the kept epochs."""
    named = name_curves(curves, len(dataset.y_train))
    away = {"way": ways, "from_start": froms}
    named = named.assign(variables(("kept_epoch", "replica"), _AWAY, away))
    return named.assign_coords(coordinates({"kept_epoch": sorted(free.kept)}))
