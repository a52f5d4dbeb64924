"""Arms of training where it collapses: free, in balls, from moved starts.

The network is that of the page about abandoned examples. Free training is a run of the
store; the other arms begin where it began, are measured by the way to its best point,
and are saved one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from birthmark.network import name_parameters
from birthmark.shapes import Array, Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store, has_results, load_results, save_results
from birthmark.sweeps import run
from birthmark_experiments.abandonment.protocol import PROTOCOLS as ABANDONMENT
from birthmark_experiments.abandonment.protocol import spec_of
from birthmark_experiments.frame.probes import as_tensors
from birthmark_experiments.near_the_start.points import (
    Ball,
    Parameters,
    distances,
    move,
    shrink,
    train_from,
)

LOSSES = {"clipped": {}, "logits": {"training.loss": "cross_entropy"}}
_METRICS = {
    "train_loss": ("train loss, mean over an epoch, each arm by its own loss", "nat"),
    "train_accuracy": ("train accuracy, likewise", "1"),
    "test_accuracy": ("test accuracy", "1"),
    "below_eps": ("share of visits with a true class below the clip", "1"),
}


@dataclass(frozen=True)
class Arm:
    """One way to train: where from, where to stay.

    Kinds: `free`; in a `ball` around the start; of limited `norm`, in a ball around
    zero; from a `moved` start; from a `shrunk` one: moved, and as long as before.
    """

    loss: str  # of `LOSSES`
    kind: str
    size: float = 0.0  # over the way to the best point; of `norm`, over the norm there

    @property
    def name(self) -> str:
        """Such as `clipped ball 0.5`."""
        return f"{self.loss} {self.kind}" + (f" {self.size:g}" if self.size else "")


@dataclass(frozen=True)
class Protocol:
    """What one scale measures."""

    before: str  # scale of the abandonment experiment that network and data come from
    eps: float
    epochs: int
    kept: int  # epochs between two at which weights are looked at
    every: int  # steps after which a network is put back into its ball
    alphas: tuple[float, ...]  # on the line: 0 the start, 1 the end
    arms: tuple[Arm, ...]


PROTOCOLS = {
    "full": Protocol(
        before="full",
        eps=1e-3,
        epochs=130,
        kept=5,
        every=10,
        alphas=tuple(round(-0.5 + 0.1 * i, 1) for i in range(26)),
        arms=(
            Arm("clipped", "free"),
            *(Arm("clipped", "ball", size) for size in (0.5, 0.75, 1.0, 1.25)),
            Arm("clipped", "norm", 1.0),
            *(Arm("clipped", "moved", size) for size in (0.5, 1.0)),
            Arm("clipped", "shrunk", 1.0),
            Arm("logits", "free"),
            *(Arm("logits", k, 1.0) for k in ("ball", "norm", "moved", "shrunk")),
        ),
    ),
    "quick": Protocol(
        before="quick",
        eps=0.01,
        epochs=20,
        kept=2,
        every=3,
        alphas=(-0.5, 0.0, 1.0, 2.0),
        arms=(
            Arm("clipped", "free"),
            *(Arm("clipped", "ball", size) for size in (1.0, 1000.0)),
            Arm("clipped", "norm", 0.5),
            *(Arm("clipped", k, 1.0) for k in ("moved", "shrunk")),
            Arm("logits", "free"),
            *(Arm("logits", k, 1.0) for k in ("ball", "moved")),
        ),
    ),
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
    before = replace(
        ABANDONMENT[protocol.before], epochs=protocol.epochs, every=protocol.kept
    )
    spec = spec_of(before, protocol.eps).with_settings(LOSSES[loss])
    spec = spec.with_settings({"record.weights": spec.record.epochs})
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
    arm: Arm, protocol: Protocol, free: Free, dataset: Dataset, folder: Path
) -> xr.Dataset:
    """Train an arm, or read what it gave before."""
    place = folder / "arms" / f"{free.spec.run_key} {arm.name}".replace(" ", "-")
    if has_results(place):
        return load_results(place)[0]
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
    results = _name_curves(
        {name: np.array(values) for name, values in found.items()},
        np.array(ways),
        np.array(froms),
        free,
        dataset,
    )
    save_results(place, results, {"arm": arm.name})
    return results


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
        {
            name: (
                ("epoch", "replica"),
                np.float32(curves[name]),
                {"long_name": long_name, "units": units},
            )
            for name, (long_name, units) in _METRICS.items()
        },
        {
            "epoch": np.arange(1, len(curves["train_loss"]) + 1, dtype=np.int32),
            "kept_epoch": np.array(sorted(free.kept), dtype=np.int32),
        },
    )
    for name, long_name, values in (
        ("way", "distance from where this arm began", ways),
        ("from_start", "distance from the start of free training", froms),
    ):
        words = {"long_name": long_name, "units": "weight"}
        results[name] = (("kept_epoch", "replica"), np.float32(values), words)
    return results
