"""Why random, and not one number everywhere? Constant starts, and what breaks the tie.

Units of a layer with equal weights in and out get equal gradients, and stay equal for
ever (Blumenfeld et al., arXiv 2007.01038): the network is one of width 1, whatever its
width. What it learns, what sets its units apart, and where it ends is measured here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from birthmark.data import load_dataset
from birthmark.network import forward_stack
from birthmark.shapes import Array, Dataset, Weights
from birthmark.spec import RunSpec
from birthmark.store import Store, open_store
from birthmark.sweeps import Grid, run_grid
from birthmark_experiments.constant_start.ends import (
    NUM_PAIRS,
    compare_ends,
    save_first_replica,
)
from birthmark_experiments.constant_start.ties import (
    APART,
    CONSTANT,
    THEORY,
    apart_steps,
    compare_ties,
)
from birthmark_experiments.frame.contests import interval
from birthmark_experiments.frame.experiment import Experiment
from birthmark_experiments.frame.probes import as_inputs, as_tensors, stack_curves

STARTS: dict[str, dict[str, Any]] = {
    "constant 0.5": {"name": "constant", "value": 0.5},
    "constant 0.01": {"name": "constant", "value": CONSTANT},
    "zeros": {"name": "zeros"},
    "glorot_uniform": {"name": "glorot_uniform"},
}
END_STARTS = ("constant 0.01", "one random start", "random starts")


@dataclass(frozen=True)
class Scale:
    """How much of it is measured."""

    data: dict[str, Any]
    width: int
    batch_size: int
    epochs: int
    end_epochs: int
    replicas: int
    narrow_replicas: int
    narrow_lrs: tuple[float, ...]
    noises: tuple[float, ...]  # relative to the constant
    dropout: float = 0.1


_SCALES = {
    "full": Scale(
        data={"name": "mnist", "examples_per_class": 500},
        width=32,
        batch_size=32,
        epochs=60,
        end_epochs=40,
        replicas=5,
        narrow_replicas=10,
        narrow_lrs=(0.03, 0.1, 0.3),
        noises=(1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 3e-2),
    ),
    "quick": Scale(
        data={"name": "digits", "examples_per_class": 50},
        width=8,
        batch_size=32,
        epochs=4,
        end_epochs=2,
        replicas=2,
        narrow_replicas=2,
        narrow_lrs=(0.1,),
        noises=(1e-2,),
    ),
}


def measure(scale: str, folder: Path) -> xr.Dataset:
    """Train all arms; see the module for what they ask."""
    size = _SCALES[scale]
    store = open_store(folder, create=True)
    dataset = load_dataset(_spec(size, STARTS["zeros"]).data)
    parts = [
        _measure_starts(size, store, dataset),
        compare_ties(
            _spec(size, STARTS["constant 0.01"]),
            store,
            dataset,
            noises=size.noises,
            dropout=size.dropout,
        ),
        _measure_narrow(size, store),
        _measure_ends(size, store, folder, dataset),
    ]
    results = xr.merge(parts)
    results.attrs = {
        "protocol": (
            f"{dataset.name}, {len(dataset.y_train)} training and "
            f"{len(dataset.y_test)} test examples, pixels over the full scale; "
            f"{dataset.num_inputs}-{size.width}-{size.width}-{dataset.num_classes} "
            "ReLU network, biases zero; cross-entropy, plain SGD, lr 0.1, batch "
            f"{size.batch_size}, {size.epochs} epochs; {size.replicas} replicas that "
            "differ in the order of their batches (paired over the starts), float32, "
            f"seed 0. End points: {size.end_epochs} epochs, cosine schedule to 0, "
            f"{NUM_PAIRS} pairs of replicas."
        ),
        "steps_per_epoch": -(-len(dataset.y_train) // size.batch_size),
        "num_classes": dataset.num_classes,
        "num_inputs": dataset.num_inputs,
        "width": size.width,
        "constant": CONSTANT,
        "dropout": size.dropout,
        "apart": APART,
    }
    return results


def _spec(
    size: Scale, start: dict[str, Any], settings: dict[str, Any] | None = None
) -> RunSpec:
    spec = RunSpec(
        data=size.data,
        network={"widths": [size.width, size.width]},
        initialization=start,
        training={
            "loss": "cross_entropy",
            "lr": 0.1,
            "batch_size": size.batch_size,
            "epochs": size.epochs,
        },
        run={"replicas": size.replicas, "device": "cpu"},
        record={"distributions": [], "evaluate_train": True},
    )
    return spec.with_settings(settings or {})


def _measure_starts(size: Scale, store: Store, dataset: Dataset) -> xr.Dataset:
    specs = [
        _spec(size, start, {"record.weights": [size.epochs]})
        for start in STARTS.values()
    ]
    records = [one.records for one in run_grid(Grid(tuple(specs)), store)]
    active = [
        _active_share(store.weights(spec.run_key, size.epochs), dataset)
        for spec in specs
    ]
    curve = ("start", "epoch", "replica")
    return xr.Dataset(
        {
            "train_loss": (
                curve,
                stack_curves(records, "train_loss_evaluated"),
                {"long_name": "train loss at the end of the epoch", "units": "nat"},
            ),
            "test_accuracy": (
                curve,
                stack_curves(records, "test_accuracy"),
                {"long_name": "test accuracy", "units": "1"},
            ),
            "distinct_units": (
                (*curve, "layer"),
                stack_curves(records, "distinct_units")[..., :2],
                {"long_name": "number of different units", "units": "1"},
            ),
            "active_share": (
                ("start", "replica"),
                np.stack(active).astype(np.float32),
                {
                    "long_name": "share of (unit, test input) pairs of hidden2 above 0 "
                    "at the end",
                    "units": "1",
                },
            ),
        },
        {
            "start": list(STARTS),
            "epoch": np.arange(size.epochs + 1, dtype=np.int32),
            "layer": ["hidden1", "hidden2"],
        },
    )


def _measure_narrow(size: Scale, store: Store) -> xr.Dataset:
    """What real networks of width 1 reach, from random starts at several rates."""
    specs = [
        _spec(
            size,
            STARTS["glorot_uniform"],
            {
                "network.widths": [1, 1],
                "training.lr": lr,
                "run.replicas": size.narrow_replicas,
                "record.epochs": [],
            },
        )
        for lr in size.narrow_lrs
    ]
    done = run_grid(Grid(tuple(specs)), store)
    final = [one.records["train_loss_evaluated"][-1] for one in done]
    return xr.Dataset(
        {
            "narrow_loss": (
                ("lr", "narrow_replica"),
                np.stack(final).astype(np.float32),
                {"long_name": "final train loss of width-1 networks", "units": "nat"},
            )
        },
        {"lr": list(size.narrow_lrs)},
    )


def _measure_ends(
    size: Scale, store: Store, folder: Path, dataset: Dataset
) -> xr.Dataset:
    """Where replicas end that differ in the order of their batches."""
    settings = {
        "training.epochs": size.end_epochs,
        "training.schedule.name": "cosine",
        "run.replicas": 2 * NUM_PAIRS,
        "record.weights": [size.end_epochs],
        "record.epochs": [],
    }
    random = _spec(size, STARTS["glorot_uniform"], settings)
    file = save_first_replica(random, folder / "start.npz")
    specs = [
        _spec(size, STARTS["constant 0.01"], settings),
        _spec(size, {"name": "checkpoint", "file": file}, settings),
        random,
    ]
    run_grid(Grid(tuple(specs)), store)
    return compare_ends(END_STARTS, specs, store, dataset)


def _active_share(weights: Weights, dataset: Dataset) -> Array:
    """Share of (unit, test input) pairs of the last hidden layer above 0, [R]."""
    hidden = dict(list(as_tensors(weights).items())[:-1])
    z_RNO = forward_stack(Weights(hidden), as_inputs(dataset, "test")[0], "relu")
    return np.asarray((z_RNO > 0).float().mean(dim=(1, 2)))


def summarize(results: xr.Dataset) -> dict[str, Any]:
    """Final losses and accuracies, times until the tie is broken, end points."""
    last = results.isel(epoch=-1)
    starts = [
        {
            "name": str(name),
            "loss": interval(last["train_loss"].sel(start=name)),
            "accuracy": interval(last["test_accuracy"].sel(start=name)),
            "distinct": [
                int(results["distinct_units"].sel(start=name, layer=layer).max())
                for layer in ("hidden1", "hidden2")
            ],
            "active": float(last["active_share"].sel(start=name).mean()),
        }
        for name in results["start"].to_numpy()
    ]
    steps = apart_steps(results)
    budget = int(results["epoch"][-1]) * results.attrs["steps_per_epoch"]
    ties = [
        {
            "name": str(name),
            "num_apart": int(np.isfinite(steps.sel(tie=name)).sum()),
            "steps": interval(steps.sel(tie=name).fillna(budget)),
            "start_spread": float(results["spread"].sel(tie=name)[0].mean()),
            "last_spread": float(results["spread"].sel(tie=name)[-1].max()),
            "loss": interval(results["tie_loss"].sel(tie=name)[-1]),
        }
        for name in results["tie"].to_numpy()
        if name != THEORY
    ]
    tied, theory = (
        results["tie_loss"].sel(tie=name).isel(epoch=slice(1, None))
        for name in ("none", THEORY)
    )
    narrow = results["narrow_loss"]
    return {
        "protocol": results.attrs["protocol"],
        "width": int(results.attrs["width"]),
        "constant": float(results.attrs["constant"]),
        "dropout": float(results.attrs["dropout"]),
        "apart": float(results.attrs["apart"]),
        "budget": budget,
        "guess_loss": float(np.log(results.attrs["num_classes"])),
        "num_replicas": int(results.sizes["replica"]),
        "starts": {one["name"]: one for one in starts},
        "ties": {one["name"]: one for one in ties},
        "theory_gap": float(np.abs(tied - theory).max()),
        "narrow_best": float(narrow.min()),
        "narrow_lr": float(narrow.min("narrow_replica").idxmin("lr")),
        "narrow_count": int(narrow.size),
        "narrow_guessing": int(
            (narrow > 0.99 * np.log(results.attrs["num_classes"])).sum()
        ),
        "tied_best": float(last["train_loss"].sel(start="constant 0.01").min()),
        "num_pairs": int(results.sizes["pair"]),
        "ends": {
            str(name): {
                key.removeprefix("end_"): interval(results[key].sel(end_start=name))
                for key in map(str, results)
                if key.startswith("end_")
            }
            for name in results["end_start"].to_numpy()
        },
    }


EXPERIMENT = Experiment(
    name="constant-start",
    question="Why start from random weights, and not from 0.5 everywhere?",
    data=("mnist",),
    measure=measure,
    summarize=summarize,
)
