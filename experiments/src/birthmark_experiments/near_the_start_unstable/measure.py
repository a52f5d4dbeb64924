"""Arms of training where it collapses, and losses on lines and with layers put back.

The network is that of the page about abandoned examples. Free training is a run of the
store; the other arms begin where it began, are measured by the way to its best point,
and are saved one by one.
"""

from __future__ import annotations

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
from birthmark.store import Store
from birthmark.sweeps import run
from birthmark_experiments.abandonment.protocol import keep_weights
from birthmark_experiments.frame import recall, variable, variables
from birthmark_experiments.frame.probes import as_inputs, as_tensors
from birthmark_experiments.frame.variables import name_curves
from birthmark_experiments.near_the_start.points import (
    Ball,
    Parameters,
    distances,
    mix_points,
    move,
    put_back,
    shrink,
    train_from,
)
from birthmark_experiments.near_the_start_unstable.protocol import (
    LOSSES,
    Condition,
    Protocol,
    describe_arms,
)

_POINTS = {
    "train_loss": ("clipped loss, whole training set", "nat"),
    "train_accuracy": ("accuracy, whole training set", "1"),
    "below_eps": ("share of examples with a true class below the clip", "1"),
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
    results = xr.merge(
        [
            xr.concat(curves, dim="arm").assign_coords(
                arm=[arm.name for arm in protocol.arms],
                loss=("arm", [arm.loss for arm in protocol.arms]),
                kind=("arm", [arm.kind for arm in protocol.arms]),
                size=("arm", [arm.size for arm in protocol.arms]),
            ),
            _look_around(protocol, frees["clipped"], dataset),
        ]
    )
    results["best_epoch"] = variable(
        ("free", "replica"),
        [free.best_R for free in frees.values()],
        "kept epoch with the lowest train loss",
        "epochs",
    )
    results["best_way"] = variable(
        ("free", "replica"),
        [distances(free.best, free.start) for free in frees.values()],
        "distance from the start there",
        "weight",
    )
    norms = distances(frees["clipped"].start, zeros(frees["clipped"].start))
    results["start_norm"] = variable("replica", norms, "norm of the start", "weight")
    results.attrs = {
        "protocol": describe_arms(protocol, len(dataset.y_train)),
        "eps": protocol.eps,
        "epochs": protocol.epochs,
        "every": protocol.every,
    }
    return results.assign_coords(free=list(frees))


def _look_around(protocol: Protocol, free: Free, dataset: Dataset) -> xr.Dataset:
    """On the lines to the best point and to the end, and with layers put back."""
    layers = list(free.spec.network.layer_names)
    tips = {"best": free.best, "last": free.last}
    lines = [
        _evaluate(
            [mix_points(free.start, tip, alpha) for alpha in protocol.alphas],
            dataset,
            protocol.eps,
            ("alpha", list(protocol.alphas)),
            "line",
        )
        for tip in tips.values()
    ]
    resets = []
    for tip in tips.values():
        points = put_back(tip, free.start, layers)
        labels = ("reset", list(points))
        resets.append(
            _evaluate(list(points.values()), dataset, protocol.eps, labels, "reset")
        )
    whole = [xr.concat(one, dim="tip") for one in (lines, resets)]
    return xr.merge(whole).assign_coords(tip=list(tips))


def _evaluate(
    points: list[Parameters],
    dataset: Dataset,
    eps: float,
    labels: tuple[str, list[Any]],
    prefix: str,
) -> xr.Dataset:
    """The clipped loss and accuracy of the training set at points."""
    x_NI, y_N = as_inputs(dataset, "train")
    found: dict[str, list[Array]] = {name: [] for name in _POINTS}
    for parameters in points:
        z_RNK = forward_stack(gather_layers(parameters), x_NI, "relu")
        p_RN = z_RNK.softmax(dim=-1)[:, torch.arange(len(y_N)), y_N].double()
        right_RN = z_RNK.argmax(dim=-1) == y_N
        found["train_loss"].append(-p_RN.clamp(eps, 1 - eps).log().mean(dim=1).numpy())
        found["train_accuracy"].append(right_RN.double().mean(dim=1).numpy())
        found["below_eps"].append((p_RN < eps).double().mean(dim=1).numpy())
    dim, values = labels
    return xr.Dataset(
        variables((dim, "replica"), _POINTS, found, f"{prefix}_"),
        {dim: values},
    )


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
        return {
            name: torch.stack(
                [self.kept[e][name][r] for r, e in enumerate(self.best_R)]
            )
            for name in self.start
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
        epoch: _read_weights(store, key, epoch) for epoch in store.weights_epochs(key)
    }
    epochs = np.array(sorted(kept)[1:])
    losses_TR = records["train_loss"].transpose("step", "replica").to_numpy()[epochs]
    return Free(
        spec,
        str(store.manifest(key)["path"]),
        records,
        kept,
        epochs[losses_TR.argmin(axis=0)],
    )


def _read_weights(store: Store, key: str, epoch: int) -> Parameters:
    return name_parameters(as_tensors(store.weights(key, epoch)))


def zeros(like: Parameters) -> Parameters:
    """The point at which all weights and biases are 0."""
    return {name: torch.zeros_like(tensor) for name, tensor in like.items()}


def carry_out(
    arm: Condition, protocol: Protocol, free: Free, dataset: Dataset, folder: Path
) -> xr.Dataset:
    """Train an arm, or read what it gave before."""
    return recall(
        folder,
        arm.name,
        [arm, protocol.every, protocol.kept, free.spec, free.path],
        lambda: _train(arm, protocol, free, dataset),
    )


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
    return _name_curves(
        {name: np.array(values) for name, values in found.items()},
        np.array(ways),
        np.array(froms),
        free,
        dataset,
    )


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
    words = {
        "way": ("distance from where this arm began", "weight"),
        "from_start": ("distance from the start of free training", "weight"),
    }
    distances = {"way": ways, "from_start": froms}
    return (
        name_curves(curves, len(dataset.y_train))
        .assign(variables(("kept_epoch", "replica"), words, distances))
        .assign_coords(kept_epoch=np.array(sorted(free.kept), dtype=np.int32))
    )
