"""What a store has kept, and examples: weights as torch looks at them, curves."""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from birthmark.shapes import Array, Dataset, Layer, Weights
from birthmark.spec import RunSpec
from birthmark.store import Store
from birthmark.sweeps import Grid, run_grid


def train_all(specs: Iterable[RunSpec], store: Store) -> list[xr.Dataset]:
    """Train the runs that a store does not have, and read the records of all."""
    every = tuple(specs)
    run_grid(Grid(every), store)
    return [store.records(spec.run_key, distributions=False) for spec in every]


def as_tensors(weights: Weights) -> Weights:
    """Weights of a store, which are arrays of NumPy, as tensors."""
    return Weights(
        {n: Layer(torch.tensor(x.w), torch.tensor(x.b)) for n, x in weights.items()}
    )


def read_ends(store: Store, spec: RunSpec) -> tuple[Weights, Weights]:
    """Start and end of a run, both of which were kept."""
    ends = (0, spec.training.epochs)
    start, end = (as_tensors(store.weights(spec.run_key, epoch)) for epoch in ends)
    return start, end


def as_inputs(
    dataset: Dataset, half: Literal["train", "test"], count: int | None = None
) -> tuple[Tensor, Tensor]:
    """The first examples as a network sees them, x [N, I] float32, and classes [N]."""
    x = dataset.x_train if half == "train" else dataset.x_test
    y = dataset.y_train if half == "train" else dataset.y_test
    values = torch.from_numpy(x[:count] / dataset.full_scale).float()
    return (values - dataset.mean) / dataset.std, torch.tensor(y[:count])


def take_replicas(weights: Weights, rows: list[int]) -> Weights:
    """A stack of some of the replicas."""
    return Weights({n: Layer(x.w[rows], x.b[rows]) for n, x in weights.items()})


def flatten_replica(weights: Weights, row: int) -> Tensor:
    """All weights and biases of one replica, as one vector."""
    parts = [t[row].flatten() for _, x in weights.items() for t in (x.w, x.b)]
    return torch.cat(parts)


def stack_curves(records: Sequence[xr.Dataset], name: str) -> Array:
    """A variable of the records of several runs, [run, step, replica(, layer)]."""
    dims = [d for d in ("step", "replica", "layer") if d in records[0][name].dims]
    arrays = [one[name].transpose(*dims).to_numpy() for one in records]
    return np.stack(arrays).astype(np.float32)
