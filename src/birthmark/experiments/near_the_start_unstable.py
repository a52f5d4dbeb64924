"""Is it leaving the start that loses a network? The tests near it, where it collapses.

The small network of the page about abandoned examples, which learns and then loses all
it learned: losses on the lines to where it stood best and to where it ends, layers put
back, training kept in balls, and training from moved starts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from birthmark.data import load_dataset
from birthmark.experiments.abandonment import describe
from birthmark.experiments.abandonment_runs import PROTOCOLS as ABANDONMENT
from birthmark.experiments.abandonment_runs import spec_of
from birthmark.experiments.experiment import Experiment
from birthmark.experiments.near_the_start_points import (
    Ball,
    Parameters,
    distances,
    mix_points,
    move,
    put_back,
    shrink,
    train_from,
)
from birthmark.experiments.near_the_start_unstable_facts import summarize
from birthmark.experiments.probes import as_inputs, as_tensors
from birthmark.network import forward_stack, gather_layers, name_parameters
from birthmark.shapes import Array, Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store, has_results, load_results, save_results
from birthmark.sweeps import run

_LOSSES = {"clipped": {}, "logits": {"training.loss": "cross_entropy"}}
_METRICS = {
    "train_loss": ("train loss, mean over an epoch, each arm by its own loss", "nat"),
    "train_accuracy": ("train accuracy, likewise", "1"),
    "test_accuracy": ("test accuracy", "1"),
    "below_eps": ("share of visits with a true class below the clip", "1"),
}
_POINTS = {
    "train_loss": ("clipped loss, whole training set", "nat"),
    "train_accuracy": ("accuracy, whole training set", "1"),
    "below_eps": ("share of examples with a true class below the clip", "1"),
}


@dataclass(frozen=True)
class Arm:
    """One way to train: where from, where to stay.

    Kinds: `free`; in a `ball` around the start; of limited `norm`, in a ball around
    zero; from a `moved` start; from a `shrunk` one: moved, and as long as before.
    """

    loss: str  # of `_LOSSES`
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


def measure(scale: str, folder: Path) -> xr.Dataset:
    """Curves of all arms, and losses on lines and with layers put back.

    Each arm is saved in the folder when it is done, so that what was stopped goes on.
    """
    protocol = PROTOCOLS[scale]
    frees = {loss: train_freely(protocol, loss, folder) for loss in _LOSSES}
    spec = frees["clipped"].spec
    dataset = load_dataset(spec.data)
    curves = [
        _read_free(frees[arm.loss], dataset)
        if arm.kind == "free"
        else _carry_out(arm, protocol, frees[arm.loss], dataset, folder)
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
    for name, long_name, units, values in (
        ("best_epoch", "kept epoch with the lowest train loss", "epochs", "best_R"),
        ("best_way", "distance from the start there", "weight", ""),
    ):
        found = [
            getattr(free, values) if values else distances(free.best, free.start)
            for free in frees.values()
        ]
        words = {"long_name": long_name, "units": units}
        results[name] = (("free", "replica"), np.array(found, dtype=np.float32), words)
    norms = distances(frees["clipped"].start, _zeros(frees["clipped"].start))
    words = {"long_name": "norm of the start", "units": "weight"}
    results["start_norm"] = ("replica", norms.astype(np.float32), words)
    results.attrs = {
        "protocol": _describe(protocol, len(dataset.y_train)),
        "eps": protocol.eps,
        "epochs": protocol.epochs,
        "every": protocol.every,
    }
    return results.assign_coords(free=list(frees))


def train_freely(protocol: Protocol, loss: str, folder: Path) -> Free:
    """The run that nothing holds; its weights are kept."""
    before = replace(
        ABANDONMENT[protocol.before], epochs=protocol.epochs, every=protocol.kept
    )
    spec = spec_of(before, protocol.eps).with_settings(_LOSSES[loss])
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


def _zeros(like: Parameters) -> Parameters:
    return {name: torch.zeros_like(tensor) for name, tensor in like.items()}


def _carry_out(
    arm: Arm, protocol: Protocol, free: Free, dataset: Dataset, folder: Path
) -> xr.Dataset:
    """Train an arm, or read what it gave before."""
    place = folder / "arms" / f"{free.spec.run_key} {arm.name}".replace(" ", "-")
    if has_results(place):
        return load_results(place)[0]
    start, ball = free.start, None
    if arm.kind in ("ball", "norm"):
        center = start if arm.kind == "ball" else _zeros(start)
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


def _read_free(free: Free, dataset: Dataset) -> xr.Dataset:
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
        {
            f"{prefix}_{name}": (
                (dim, "replica"),
                np.array(found[name], dtype=np.float32),
                {"long_name": long_name, "units": units},
            )
            for name, (long_name, units) in _POINTS.items()
        },
        {dim: values},
    )


def _describe(protocol: Protocol, num_examples: int) -> str:
    before = replace(ABANDONMENT[protocol.before], epochs=protocol.epochs)
    return (
        f"{describe(before, num_examples)} Clip {protocol.eps:g}, or the loss from "
        f"logits. Weights were kept every {protocol.kept} epochs; the best point of a "
        "replica is the kept one with the lowest train loss. A network is put back "
        f"into its ball after every {protocol.every} steps."
    )


EXPERIMENT = Experiment(
    name="near-the-start-unstable",
    question="Does a network that collapses collapse because it leaves its start?",
    data=("hasyv2",),
    measure=measure,
    summarize=summarize,
)
