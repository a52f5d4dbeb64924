"""Train from all starts, alone and with what breaks the tie, and see where they end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn.functional import cross_entropy

from birthmark.data import load_dataset
from birthmark.network import forward_stack
from birthmark.shapes import Array, Dataset, Layer, Weights
from birthmark.spec import RunSpec
from birthmark.store import Store, open_store
from birthmark.sweeps import Grid, run_grid
from birthmark.training import initial_configuration
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
from birthmark_experiments.frame import variable
from birthmark_experiments.frame.probes import (
    as_inputs,
    as_tensors,
    flatten_replica,
    stack_curves,
    take_replicas,
)

NUM_PAIRS = 5  # of end points: replicas 0 and 1, 2 and 3, ...
_NAMES = {
    "end_distance": ("distance of two end points over the way to them", "1"),
    "end_disagreement": ("share of test examples predicted differently", "1"),
    "end_function_distance": ("rms difference of probabilities", "1"),
    "end_barrier": ("largest rise of the train loss between two end points", "nat"),
    "end_loss": ("train loss of the end points", "nat"),
}


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
            "train_loss": variable(
                curve,
                stack_curves(records, "train_loss_evaluated"),
                "train loss at the end of the epoch",
                "nat",
            ),
            "test_accuracy": variable(
                curve, stack_curves(records, "test_accuracy"), "test accuracy"
            ),
            "distinct_units": variable(
                (*curve, "layer"),
                stack_curves(records, "distinct_units")[..., :2],
                "number of different units",
            ),
            "active_share": variable(
                ("start", "replica"),
                np.stack(active),
                "share of (unit, test input) pairs of hidden2 above 0 at the end",
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
            "narrow_loss": variable(
                ("lr", "narrow_replica"),
                np.stack(final),
                "final train loss of width-1 networks",
                "nat",
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


def save_first_replica(spec: RunSpec, path: Path) -> str:
    """Write the first replica's start, for all replicas of another run to begin at."""
    weights = initial_configuration(spec)
    arrays = {f"{name}.w": layer.w[0].numpy() for name, layer in weights.items()}
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return str(path)


def compare_ends(
    names: Sequence[str], specs: Sequence[RunSpec], store: Store, dataset: Dataset
) -> xr.Dataset:
    """Distances between the end points of disjoint pairs of replicas.

    Weights: the L2 distance of two end points over the mean length of the straight way
    to them. Function: predictions on the test set. The barrier is what the loss
    rises, on the straight line between the end points, above the line between their
    losses: 0 within one basin (Frankle et al., arXiv 1912.05671).
    """
    train, (test_NI, _) = as_inputs(dataset, "train"), as_inputs(dataset, "test")
    rows = []
    for spec in specs:
        start, end = (
            as_tensors(store.weights(spec.run_key, epoch))
            for epoch in (0, spec.training.epochs)
        )
        rows.append(
            [_compare(start, end, 2 * k, train, test_NI) for k in range(NUM_PAIRS)]
        )
    columns = np.moveaxis(np.array(rows, dtype=np.float32), -1, 0)
    return xr.Dataset(
        {
            name: variable(("end_start", "pair"), values, words, unit)
            for (name, (words, unit)), values in zip(
                _NAMES.items(), columns, strict=True
            )
        },
        {"end_start": list(names)},
    )


def _compare(
    start: Weights,
    end: Weights,
    first: int,
    train: tuple[Tensor, Tensor],
    test_NI: Tensor,
) -> tuple[float, ...]:
    rows = [first, first + 1]
    a, b = (flatten_replica(end, row) for row in rows)
    ways = [
        float((flatten_replica(end, r) - flatten_replica(start, r)).norm())
        for r in rows
    ]
    p_2NK = torch.softmax(
        forward_stack(take_replicas(end, rows), test_NI, "relu"), dim=-1
    )
    differ_N = p_2NK[0].argmax(-1) != p_2NK[1].argmax(-1)
    losses = np.array(
        [_loss(_between(end, rows, share), *train) for share in np.linspace(0, 1, 11)]
    )
    chord = np.linspace(losses[0], losses[-1], len(losses))
    return (
        float((a - b).norm()) / float(np.mean(ways)),
        float(differ_N.float().mean()),
        float((p_2NK[0] - p_2NK[1]).square().mean().sqrt()),
        float((losses - chord).max()),
        float(losses[[0, -1]].mean()),
    )


def _between(weights: Weights, rows: list[int], share: float) -> Weights:
    """A stack of one, on the straight line from the first row to the second."""
    a, b = rows
    return Weights(
        {
            n: Layer(
                torch.lerp(x.w[a], x.w[b], share)[None],
                torch.lerp(x.b[a], x.b[b], share)[None],
            )
            for n, x in weights.items()
        }
    )


def _loss(one: Weights, x_NI: Tensor, y_N: Tensor) -> float:
    return float(cross_entropy(forward_stack(one, x_NI, "relu")[0], y_N))
