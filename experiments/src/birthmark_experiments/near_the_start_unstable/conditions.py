"""Arms of training where it collapses: free, in balls, from moved starts.

The network is that of the page about abandoned examples. Free training is a run of the
store; the other arms begin where it began, are measured by the way to its best point,
and are saved one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from birthmark.network import name_parameters
from birthmark.shapes import Array, Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store
from birthmark.sweeps import run
from birthmark_experiments.abandonment.protocol import keep_weights
from birthmark_experiments.frame import labelled, recall, variables
from birthmark_experiments.frame.probes import as_tensors
from birthmark_experiments.near_the_start.points import (
    Ball,
    Parameters,
    distances,
    move,
    shrink,
    train_from,
)
from birthmark_experiments.near_the_start_unstable.protocol import (
    LOSSES,
    Condition,
    Protocol,
)

_METRICS = {
    "train_loss": ("train loss, mean over an epoch, each arm by its own loss", "nat"),
    "train_accuracy": ("train accuracy, likewise", "1"),
    "test_accuracy": ("test accuracy", "1"),
    "below_eps": ("share of visits with a true class below the clip", "1"),
}


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
    curves["below_eps"] = curves["below_eps"] / len(dataset.y_train)
    results = xr.Dataset(
        variables(("epoch", "replica"), _METRICS, curves),
        {
            "epoch": np.arange(1, len(curves["train_loss"]) + 1, dtype=np.int32),
            "kept_epoch": np.array(sorted(free.kept), dtype=np.int32),
        },
    )
    for name, long_name, values in (
        ("way", "distance from where this arm began", ways),
        ("from_start", "distance from the start of free training", froms),
    ):
        words = labelled(long_name, "weight")
        results[name] = (("kept_epoch", "replica"), np.float32(values), words)
    return results
