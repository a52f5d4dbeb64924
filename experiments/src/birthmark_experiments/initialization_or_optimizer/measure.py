"""Initialization or optimizer: which of the two decides how quickly a network learns?

Eight starts are trained by three optimizers, each at the learning rate that a small
search on another seed has found for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from birthmark.analysis import steps_to_reach
from birthmark.data import describe_dataset
from birthmark.shapes import Array
from birthmark.spec import RunSpec
from birthmark.store import Store, open_store
from birthmark.sweeps import Grid, run_grid
from birthmark_experiments.frame.experiment import Experiment
from birthmark_experiments.frame.starts import list_starts
from birthmark_experiments.initialization_or_optimizer.facts import summarize

_SEED = 0
_SEARCH_SEED = 1000
LEVELS = (0.25, 0.1)  # of the loss of a guess; the second is what the search looks at
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"optimizer": "sgd"},
    "momentum": {"optimizer": "sgd", "momentum": 0.9},
    "Adam": {"optimizer": "adam"},
}


@dataclass(frozen=True)
class Protocol:
    """What one scale measures."""

    data: str
    examples_per_class: int
    width: int
    depth: int  # hidden layers
    batch_size: int
    epochs: int
    replicas: int
    starts: tuple[str, ...]
    lrs: dict[str, tuple[float, ...]]  # by optimizer, where the search looks


PROTOCOLS = {
    "full": Protocol(
        data="mnist",
        examples_per_class=100,
        width=100,
        depth=6,
        batch_size=32,
        epochs=16,
        replicas=5,
        starts=(
            "torch_default",
            "lecun_normal",
            "glorot_uniform",
            "he_uniform",
            "he_normal",
            "orthogonal",
            "looks_linear",
            "lsuv",
        ),
        lrs={
            "SGD": (0.01, 0.03, 0.1, 0.3),
            "momentum": (0.001, 0.003, 0.01, 0.03),
            "Adam": (0.0001, 0.0003, 0.001, 0.003),
        },
    ),
    "quick": Protocol(
        data="digits",
        examples_per_class=40,
        width=24,
        depth=2,
        batch_size=16,
        epochs=4,
        replicas=2,
        starts=("glorot_uniform", "he_normal"),
        lrs={"SGD": (0.03, 0.1), "momentum": (0.01,), "Adam": (0.003,)},
    ),
}


def measure(scale: str, folder: Path) -> xr.Dataset:
    """Steps to each loss and final accuracy, by start, optimizer and replica."""
    protocol = PROTOCOLS[scale]
    store = open_store(folder / "store", create=True)
    search = search_lrs(protocol, store)
    best = {str(one.optimizer.item()): _best(one) for one in search.transpose()}
    specs = [
        spec_of(protocol, start, optimizer, lr)
        for start in protocol.starts
        for optimizer, lr in best.items()
    ]
    run_grid(Grid(tuple(specs)), store)
    shape = (len(protocol.starts), len(OPTIMIZERS))
    records = [store.records(one.run_key, distributions=False) for one in specs]
    loss = np.array([_loss(one) for one in records])
    accuracy = np.array([one["test_accuracy"].to_numpy()[-1] for one in records])
    steps = np.array([count_steps(one, _levels(protocol)) for one in records])
    budget = float(records[0]["step"][-1])
    dims = ("initialization", "optimizer")
    return xr.Dataset(
        {
            "steps": (
                (*dims, "level", "replica"),
                np.where(np.isnan(steps), budget, steps).reshape(
                    *shape, len(LEVELS), -1
                ),
                {
                    "long_name": "steps to a training loss, at most all",
                    "units": "steps",
                },
            ),
            "is_censored": (
                (*dims, "level", "replica"),
                np.isnan(steps).astype(np.int8).reshape(*shape, len(LEVELS), -1),
                {"long_name": "whether it was not reached", "units": "1"},
            ),
            "test_accuracy": (
                (*dims, "replica"),
                accuracy.reshape(*shape, -1),
                {"long_name": "test accuracy after training", "units": "1"},
            ),
            "train_loss": (
                (*dims, "step", "replica"),
                loss.astype(np.float32).reshape(*shape, *loss.shape[1:]),
                {"long_name": "loss over the whole training set", "units": "nat"},
            ),
            "search": search,
            "lr": ("optimizer", list(best.values()), {"long_name": "lr", "units": "1"}),
        },
        {
            "initialization": list(protocol.starts),
            "optimizer": list(OPTIMIZERS),
            "level": list(_levels(protocol)),
            "step": records[0]["step"].to_numpy().astype(np.int32),
        },
        {"protocol": _describe(protocol), "budget": int(budget)},
    )


def search_lrs(protocol: Protocol, store: Store) -> xr.DataArray:
    """Geometric mean over starts of the steps to the lower loss, [lr, optimizer].

    One replica of every second start, with another seed than the comparison's; what is
    not reached counts as the budget. The index of a learning rate is its place in the
    list of its optimizer, NaN beyond its end.
    """
    most = max(map(len, protocol.lrs.values()))
    found = np.full((most, len(OPTIMIZERS)), np.nan)
    lrs = np.full((most, len(OPTIMIZERS)), np.nan)
    for column, optimizer in enumerate(OPTIMIZERS):
        for row, lr in enumerate(protocol.lrs[optimizer]):
            specs = [
                spec_of(protocol, start, optimizer, lr, search=True)
                for start in protocol.starts[::2]
            ]
            run_grid(Grid(tuple(specs)), store)
            steps = []
            for one in specs:
                records = store.records(one.run_key, distributions=False)
                budget = float(records["step"][-1])
                reached = count_steps(records, _levels(protocol))[-1]
                steps.append(np.nan_to_num(reached, nan=budget))
            found[row, column] = np.exp(np.mean(np.log(steps)))
            lrs[row, column] = lr
    return xr.DataArray(
        found,
        {
            "optimizer": list(OPTIMIZERS),
            "searched_lr": (("candidate", "optimizer"), lrs),
        },
        ("candidate", "optimizer"),
        attrs={"long_name": "geometric mean of steps in the search", "units": "steps"},
    )


def spec_of(
    protocol: Protocol, start: str, optimizer: str, lr: float, *, search: bool = False
) -> RunSpec:
    """A run of one start and optimizer; one replica of another seed in the search."""
    rule = next(one.rule for one in list_starts() if one.name == start)
    return RunSpec(
        data={
            "name": protocol.data,
            "preprocessing": "standardized",
            "examples_per_class": protocol.examples_per_class,
        },
        network={"widths": [protocol.width] * protocol.depth},
        initialization=rule,
        training={
            "loss": "cross_entropy",
            **OPTIMIZERS[optimizer],
            "lr": lr,
            "batch_size": protocol.batch_size,
            "epochs": protocol.epochs,
        },
        run={
            "replicas": 1 if search else protocol.replicas,
            "seed": _SEARCH_SEED if search else _SEED,
            "device": "cpu",
        },
        record={"distributions": (0,), "evaluate_train": True},
    )


def count_steps(records: xr.Dataset, levels: tuple[float, ...]) -> Array:
    """Steps to each training loss, [level, R]; NaN where it is not reached."""
    step_T = records["step"].to_numpy().astype(float)
    return np.array([steps_to_reach(step_T, _loss(records), one) for one in levels])


def _loss(records: xr.Dataset) -> Array:
    loss = records["train_loss_evaluated"].transpose("step", "replica")
    return np.asarray(loss.to_numpy())


def _levels(protocol: Protocol) -> tuple[float, ...]:
    guess = math.log(describe_dataset(protocol.data).num_classes)
    return tuple(share * guess for share in LEVELS)


def _best(search: xr.DataArray) -> float:
    return float(search["searched_lr"][int(np.nanargmin(search.to_numpy()))])


def _describe(p: Protocol) -> str:
    lrs = "; ".join(f"{name} {', '.join(map(str, lr))}" for name, lr in p.lrs.items())
    return (
        f"{p.data}, the first {p.examples_per_class} training examples of each class, "
        f"pixels standardized; dense network, {p.depth} hidden layers of {p.width} "
        "units, relu; biases zero unless the rule has its own; cross-entropy; batch "
        f"{p.batch_size}, {p.epochs} epochs; momentum 0.9; Adam's betas 0.9 and 0.999; "
        f"{p.replicas} replicas, of which replica r meets the same batches in every "
        f"cell; float32; seed {_SEED}. The training loss is that of the whole training "
        "set at the end of each epoch; between two of them it is taken to fall "
        f"exponentially. Learning rates were chosen on seed {_SEARCH_SEED}, one "
        f"replica of every second start, from: {lrs}."
    )


EXPERIMENT = Experiment(
    name="initialization-or-optimizer",
    question="Which decides how quickly a network learns: initialization or optimizer?",
    data=("mnist",),
    measure=measure,
    summarize=summarize,
)
