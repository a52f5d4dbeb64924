"""Train from all starts, alone and with what breaks the tie, and see where they end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from birthmark.data import load_dataset
from birthmark.network import forward_stack
from birthmark.shapes import Array, Dataset, Weights
from birthmark.store import Store, open_store
from birthmark.sweeps import Grid, run_grid
from birthmark_experiments.constant_start.ends import (
    NUM_PAIRS,
    compare_ends,
    save_first_replica,
)
from birthmark_experiments.constant_start.protocol import (
    APART,
    CONSTANT,
    END_STARTS,
    STARTS,
    Protocol,
    describe,
    spec_of,
)
from birthmark_experiments.constant_start.ties import compare_ties
from birthmark_experiments.frame import labelled
from birthmark_experiments.frame.probes import as_inputs, as_tensors, stack_curves


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Train all arms; see the door of the folder for what they ask."""
    store = open_store(folder, create=True)
    dataset = load_dataset(spec_of(protocol, STARTS["zeros"]).data)
    parts = [
        _measure_starts(protocol, store, dataset),
        compare_ties(
            spec_of(protocol, STARTS["constant 0.01"]),
            store,
            dataset,
            noises=protocol.noises,
            dropout=protocol.dropout,
        ),
        _measure_narrow(protocol, store),
        _measure_ends(protocol, store, folder, dataset),
    ]
    results = xr.merge(parts)
    results.attrs = {
        "protocol": describe(protocol, dataset, NUM_PAIRS),
        "steps_per_epoch": -(-len(dataset.y_train) // protocol.batch_size),
        "num_classes": dataset.num_classes,
        "num_inputs": dataset.num_inputs,
        "width": protocol.width,
        "constant": CONSTANT,
        "dropout": protocol.dropout,
        "apart": APART,
    }
    return results


def _measure_starts(protocol: Protocol, store: Store, dataset: Dataset) -> xr.Dataset:
    specs = [
        spec_of(protocol, start, {"record.weights": [protocol.epochs]})
        for start in STARTS.values()
    ]
    records = [one.records for one in run_grid(Grid(tuple(specs)), store)]
    active = [
        _active_share(store.weights(spec.run_key, protocol.epochs), dataset)
        for spec in specs
    ]
    curve = ("start", "epoch", "replica")
    return xr.Dataset(
        {
            "train_loss": (
                curve,
                stack_curves(records, "train_loss_evaluated"),
                labelled("train loss at the end of the epoch", "nat"),
            ),
            "test_accuracy": (
                curve,
                stack_curves(records, "test_accuracy"),
                labelled("test accuracy", "1"),
            ),
            "distinct_units": (
                (*curve, "layer"),
                stack_curves(records, "distinct_units")[..., :2],
                labelled("number of different units", "1"),
            ),
            "active_share": (
                ("start", "replica"),
                np.stack(active).astype(np.float32),
                labelled(
                    "share of (unit, test input) pairs of hidden2 above 0 at the end",
                    "1",
                ),
            ),
        },
        {
            "start": list(STARTS),
            "epoch": np.arange(protocol.epochs + 1, dtype=np.int32),
            "layer": ["hidden1", "hidden2"],
        },
    )


def _measure_narrow(protocol: Protocol, store: Store) -> xr.Dataset:
    """What real networks of width 1 reach, from random starts at several rates."""
    specs = [
        spec_of(
            protocol,
            STARTS["glorot_uniform"],
            {
                "network.widths": [1, 1],
                "training.lr": lr,
                "run.replicas": protocol.narrow_replicas,
                "record.epochs": [],
            },
        )
        for lr in protocol.narrow_lrs
    ]
    done = run_grid(Grid(tuple(specs)), store)
    final = [one.records["train_loss_evaluated"][-1] for one in done]
    return xr.Dataset(
        {
            "narrow_loss": (
                ("lr", "narrow_replica"),
                np.stack(final).astype(np.float32),
                labelled("final train loss of width-1 networks", "nat"),
            )
        },
        {"lr": list(protocol.narrow_lrs)},
    )


def _measure_ends(
    protocol: Protocol, store: Store, folder: Path, dataset: Dataset
) -> xr.Dataset:
    """Where replicas end that differ in the order of their batches."""
    settings = {
        "training.epochs": protocol.end_epochs,
        "training.schedule.name": "cosine",
        "run.replicas": 2 * NUM_PAIRS,
        "record.weights": [protocol.end_epochs],
        "record.epochs": [],
    }
    random = spec_of(protocol, STARTS["glorot_uniform"], settings)
    file = save_first_replica(random, folder / "start.npz")
    specs = [
        spec_of(protocol, STARTS["constant 0.01"], settings),
        spec_of(protocol, {"name": "checkpoint", "file": file}, settings),
        random,
    ]
    run_grid(Grid(tuple(specs)), store)
    return compare_ends(END_STARTS, specs, store, dataset)


def _active_share(weights: Weights, dataset: Dataset) -> Array:
    """Share of (unit, test input) pairs of the last hidden layer above 0, [R]."""
    hidden = dict(list(as_tensors(weights).items())[:-1])
    z_RNO = forward_stack(Weights(hidden), as_inputs(dataset, "test")[0], "relu")
    return np.asarray((z_RNO > 0).float().mean(dim=(1, 2)))
