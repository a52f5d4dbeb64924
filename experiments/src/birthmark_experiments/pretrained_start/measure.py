"""Is a pre-trained network an initialization? Against random ones, with controls.

Raghu et al. (arXiv 1902.07208) found that a part of what a pre-trained start gives is
the scale of its weights. So three starts have its statistics without its knowledge:
weights drawn anew with its mean and variance, its weights in random places, and a
random start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from birthmark.data import describe_dataset, load_dataset
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store, open_store, replacing
from birthmark.training import train
from birthmark_experiments.frame.contests import (
    difference,
    hold_contest,
    read_rankings,
    tabulate,
)
from birthmark_experiments.frame.experiment import Experiment

RANDOM, PRETRAINED, FRESH_HEAD = "random", "pre-trained", "pre-trained, fresh head"
STATISTICS, SHUFFLED = "statistics only", "shuffled"
LEVELS = (0.5, 0.4, 0.3)  # of the loss of a guess, to be reached


@dataclass(frozen=True)
class Task:
    """Something to learn, and something to have learned before."""

    name: str
    before: RunSpec
    after: RunSpec
    num_skipped: int = 0  # classes that belong to `after` and are kept from `before`


def list_tasks(scale: str) -> list[Task]:
    """The pairs of tasks of a scale, `full` or `quick`."""
    run = {"replicas": 10 if scale == "full" else 3, "device": "cpu"}
    training = {
        "loss": "cross_entropy",
        "lr": 0.05,
        "batch_size": 32,
        "epochs": 12 if scale == "full" else 2,
        "schedule": {"name": "cosine"},
    }
    tables: dict[str, Any] = {
        "network": {"widths": [128, 128] if scale == "full" else [8, 8]},
        "training": training,
        "run": run,
        "record": {"distributions": []},
    }
    if scale == "quick":
        half = RunSpec(data={"name": "digits", "classes": 5}, **tables)
        return [Task("digits halves", half, half, num_skipped=5)]
    mnist = RunSpec(data={"name": "mnist", "examples_per_class": 1000}, **tables)
    fashion = mnist.with_settings(
        {"data.name": "fashion_mnist", "data.examples_per_class": 200}
    )
    hasyv2 = RunSpec(
        data={
            "name": "hasyv2",
            "preprocessing": "inverted",
            "classes": 50,
            "examples_per_class": 60,
        },
        **tables,
    )
    return [
        Task("MNIST to Fashion-MNIST", mnist, fashion),
        Task("HASYv2, other classes", hasyv2, hasyv2, num_skipped=50),
    ]


def measure(scale: str, folder: Path) -> xr.Dataset:
    """Learn the first of two tasks, then the second one from five starts."""
    store = open_store(folder, create=True)
    tasks, results = list_tasks(scale), []
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
        contest = hold_contest(specs, store, losses=losses)
        contest["start_norm"] = _start_norms(specs, store)
        with np.load(file) as kept:
            contest["accuracy_before"] = (
                "replica",
                kept["test_accuracy"].astype(np.float32),
                {"long_name": "test accuracy in the first task", "units": "1"},
            )
        results.append(_by_epoch(contest))
    joined = xr.concat(results, "task", data_vars="all", combine_attrs="drop_conflicts")
    joined = joined.assign_coords(task=[task.name for task in tasks])
    joined.attrs = {"protocol": _describe(tasks)}
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


def _start_norms(specs: dict[str, RunSpec], store: Store) -> xr.DataArray:
    """L2 norms of all weights at the start, by initialization and replica."""
    norms = []
    for spec in specs.values():
        records = store.records(spec.run_key, distributions=False)
        last = records.isel(step=-1)
        norm_RL = (last["distance"] / last["relative_distance"]).transpose(
            "replica", ...
        )
        norms.append(np.sqrt((norm_RL.to_numpy() ** 2).sum(axis=1)))
    return xr.DataArray(
        np.array(norms, dtype=np.float32),
        dims=("initialization", "replica"),
        attrs={"long_name": "L2 norm of all weights at the start", "units": "weight"},
    )


def _by_epoch(contest: xr.Dataset) -> xr.Dataset:
    """Tasks differ in their steps an epoch, so that they meet on the axis of epochs."""
    steps = contest["step"].to_numpy()
    contest["steps_per_epoch"] = (
        (),
        np.int32(steps[1]),
        {"long_name": "optimizer steps of an epoch", "units": "1"},
    )
    epochs = np.arange(len(steps), dtype=np.int32)
    return contest.assign_coords(step=epochs).rename(step="epoch")


def _describe(tasks: list[Task]) -> str:
    spec = tasks[0].after
    training = spec.training
    sizes = []
    for task in tasks:
        data = task.after.data
        dataset = load_dataset(data)
        sizes.append(
            f"{task.name}: {len(dataset.y_train)} training and {len(dataset.y_test)} "
            f"test examples of {dataset.num_classes} classes"
            + (
                f", the first {task.num_skipped}, after as many others"
                if task.num_skipped
                else f", after {describe_dataset(task.before.data).num_train} of the "
                "first set"
            )
        )
    widths = "-".join(map(str, spec.network.widths))
    return (
        f"{'; '.join(sizes)}. Pixels over the full scale (HASYv2 inverted); dense ReLU "
        f"network of widths {widths}; cross-entropy, plain SGD, lr {training.lr:g} "
        "falling to 0 along a cosine, "
        f"batch {training.batch_size}, {training.epochs} epochs in each task; "
        f"{spec.run.replicas} replicas, each pre-trained by itself, paired by the "
        "order of their batches; float32, seed 0."
    )


def summarize(results: xr.Dataset) -> dict[str, Any]:
    """Tables of outcomes by task, and the paired differences that matter."""
    tasks = []
    for name in results["task"].to_numpy():
        one = results.sel(task=name)
        rankings = read_rankings(one)
        against = {
            "pre-trained against random": (FRESH_HEAD, RANDOM),
            "head kept against fresh": (PRETRAINED, FRESH_HEAD),
            "statistics against random": (STATISTICS, RANDOM),
            "shuffled against random": (SHUFFLED, RANDOM),
            "pre-trained against statistics": (FRESH_HEAD, STATISTICS),
            "pre-trained against shuffled": (FRESH_HEAD, SHUFFLED),
        }
        tasks.append(
            {
                "name": str(name),
                "budget": int(one["steps_per_epoch"]) * int(one["epoch"][-1]),
                "accuracy_before": float(one["accuracy_before"].mean()),
                "titles": {k: r.outcome.title for k, r in rankings.items()},
                "outcomes": {k: tabulate(r) for k, r in rankings.items()},
                "start_norm": {
                    str(start): float(
                        one["start_norm"].sel(initialization=start).mean()
                    )
                    for start in one["initialization"].to_numpy()
                },
                "differences": {
                    outcome: {
                        words: difference(rankings[outcome], *pair)
                        for words, pair in against.items()
                    }
                    for outcome in ("steps_1", "steps_2", "test_accuracy", "distance")
                },
            }
        )
    return {
        "protocol": results.attrs["protocol"],
        "num_replicas": int(results.sizes["replica"]),
        "starts": [str(name) for name in results["initialization"].to_numpy()],
        "tasks": tasks,
    }


EXPERIMENT = Experiment(
    name="pretrained-start",
    question="Is a pre-trained network an initialization?",
    data=("mnist", "fashion_mnist", "hasyv2"),
    measure=measure,
    summarize=summarize,
)
