"""Learn the first of two tasks, then the second one from five starts."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from birthmark.data import describe_dataset, load_dataset
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store, open_store, replacing
from birthmark.training import train
from ..frame import coordinates, variable
from ..frame.comparisons import run_comparison
from ..frame.probes import train_all
from ..frame.variables import Variable
from .protocol import (
    FRESH_HEAD,
    LEVELS,
    PRETRAINED,
    RANDOM,
    SHUFFLED,
    STATISTICS,
    Protocol,
    Task,
    describe,
)


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Learn the first of two tasks, then the second one from five starts."""
    store = open_store(folder, create=True)
    tasks, results = protocol.tasks, []
    for task in tasks:
        file = folder / f"before-{task.name.replace(' ', '-')}.npz"
        if not file.exists():
            _learn_before(task, file)
        specs = {
            name: task.after.with_settings({"initialization": rule})
            for name, rule in _rules(str(file)).items()
        }
        num_classes = describe_dataset(task.after.data).num_classes
        losses = tuple(share * math.log(num_classes) for share in LEVELS)
        comparison = run_comparison(specs, store, losses=losses)
        comparison["start_norm"] = _start_norms(specs, store)
        with np.load(file) as kept:
            comparison["accuracy_before"] = variable(
                "replica", kept["test_accuracy"], "test accuracy in the first task"
            )
        results.append(_by_epoch(comparison))
    joined = xr.concat(results, "task", data_vars="all", combine_attrs="drop_conflicts")
    joined = joined.assign_coords(task=[task.name for task in tasks])
    joined.attrs = {"protocol": describe(tasks)}
    return joined


def _rules(file: str) -> dict[str, dict[str, Any]]:
    """By name of the start: its rule, all biases as the weights of their layer."""

    def body(name: str) -> dict[str, Any]:
        rule = {"name": name, "file": file}
        head = {"name": "glorot_uniform", "bias": {"name": "zeros"}}
        return {**rule, "bias": rule, "layers": {"output": head}}

    whole = {"name": "checkpoint", "file": file}
    return {
        RANDOM: {"name": "glorot_uniform"},
        PRETRAINED: {**whole, "bias": whole},
        FRESH_HEAD: body("checkpoint"),
        STATISTICS: body("statistics_only"),
        SHUFFLED: body("shuffled"),
    }


def _learn_before(task: Task, file: Path) -> None:
    """Train on the first task, and keep the weights of all replicas.

    From another seed: weights drawn anew from the stream of the first start would be
    that start's own numbers.
    """
    dataset = other_classes(task) if task.num_skipped else None
    spec = task.before.with_settings({"record.epochs": [], "run.seed": 1})
    *_, last = train(spec, dataset)
    arrays = {"test_accuracy": last.test_accuracy}
    for name, layer in last.weights.items():
        arrays |= {f"{name}.w": layer.w.numpy(), f"{name}.b": layer.b.numpy()}
    with replacing(file) as temporary, temporary.open("wb") as opened:
        np.savez(opened, **arrays)  # type: ignore[arg-type]


def other_classes(task: Task) -> Dataset:
    """The classes behind those of the second task, counted from 0."""
    skipped = task.num_skipped
    both = task.before.data.model_copy(update={"classes": 2 * skipped})
    dataset = load_dataset(both)
    train_N, test_N = dataset.y_train >= skipped, dataset.y_test >= skipped
    return replace(
        dataset,
        x_train=dataset.x_train[train_N],
        y_train=dataset.y_train[train_N] - skipped,
        x_test=dataset.x_test[test_N],
        y_test=dataset.y_test[test_N] - skipped,
        num_classes=skipped,
        checksum="",
    )


def _start_norms(specs: dict[str, RunSpec], store: Store) -> Variable:
    """L2 norms of all weights at the start, by initialization and replica."""
    norms = []
    for records in train_all(specs.values(), store):
        last = records.isel(step=-1)
        norm = (last["distance"] / last["relative_distance"]).transpose("replica", ...)
        norms.append(np.sqrt((norm.to_numpy() ** 2).sum(axis=1)))
    values, dims = np.array(norms, dtype=np.float32), ("initialization", "replica")
    return variable(dims, values, "L2 norm of all weights at the start", "weight")


def _by_epoch(comparison: xr.Dataset) -> xr.Dataset:
    """Tasks differ in their steps an epoch, so that they meet on the axis of epochs."""
    steps = comparison["step"].to_numpy()
    words = "optimizer steps of an epoch"
    comparison["steps_per_epoch"] = variable((), steps[1], words)
    epochs = coordinates({"step": range(len(steps))})
    return comparison.assign_coords(epochs).rename(step="epoch")
