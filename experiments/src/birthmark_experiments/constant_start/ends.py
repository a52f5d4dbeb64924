"""Do replicas that differ in the order of their batches end in the same minimum?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn.functional import cross_entropy

from birthmark.network import forward_stack
from birthmark.shapes import Dataset, Layer, Weights
from birthmark.spec import RunSpec
from birthmark.store import Store
from birthmark.training import initial_configuration
from birthmark_experiments.frame import labelled
from birthmark_experiments.frame.probes import (
    as_inputs,
    as_tensors,
    flatten_replica,
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
            name: (("end_start", "pair"), values, labelled(words, unit))
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
