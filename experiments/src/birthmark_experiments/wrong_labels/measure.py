"""Find who is always abandoned, train without them, and set both side by side."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from birthmark.data import load_dataset
from birthmark.seeds import batch_order
from birthmark.shapes import Array, Dataset
from birthmark.store import open_shipped
from birthmark.sweeps import run
from birthmark.training import Training
from ..abandonment.examples import find_losses
from ..frame import gather, recall
from ..frame.probes import as_inputs
from .facts import ALL, WITHOUT
from .protocol import Protocol, describe

_LOSSES = ("train_loss", "test_loss", "train_accuracy")
_WORDS = {
    "train_loss": ("train loss, running mean over the epoch", "nat"),
    "test_loss": ("test loss at the end of the epoch", "nat"),
    "train_accuracy": ("train accuracy, mean over an epoch as it was visited", "1"),
    "abandoned": ("visits abandoned in the epoch", "1"),
    "deviation": (
        "standard deviation of the deviation, between hidden layers",
        "weight",
    ),
}


@dataclass(frozen=True)
class OrderWithout:
    """The order of one replica, with some examples taken out of it."""

    seed: int
    replica: int
    kept_N: Array

    def __len__(self) -> int:
        """How many are left."""
        return int(self.kept_N.sum())

    def __call__(self, epoch: int) -> Tensor:
        """See `birthmark.training.Order`."""
        order = batch_order(self.seed, self.replica, epoch, len(self.kept_N))
        return torch.from_numpy(order[self.kept_N[order]])[None]


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Losses and deviation by epoch, with all examples and without some."""
    spec, dataset = protocol.spec, load_dataset(protocol.spec.data)
    kept_N = ~find_always_abandoned(protocol, dataset, folder)
    replicas = range(protocol.replicas)
    trained = [
        recall(
            folder,
            f"without them, replica {r}",
            [spec, protocol.epochs, protocol.every, kept_N],
            partial(train_without, protocol, dataset, kept_N, r),
        )
        for r in replicas
    ]
    without = xr.concat(trained, "replica").assign_coords(replica=list(replicas))
    both = [_read_reference(protocol, folder), without]
    results = xr.concat(both, "examples", combine_attrs="override")
    results = results.assign_coords(examples=[ALL, WITHOUT])
    about = {
        "num_examples": len(dataset.y_train),
        "num_left_out": int((~kept_N).sum()),
        "num_classes": dataset.num_classes,
        "plateau": -float(np.log(spec.training.eps)),
        "early": protocol.early,
        "width": spec.network.widths[0],
    }
    return results.assign_attrs(about, protocol=describe(protocol, about))


def find_always_abandoned(protocol: Protocol, dataset: Dataset, folder: Path) -> Array:
    """Which examples every replica has below the clip at the early epoch, [N]."""
    spec = protocol.look
    store = run(spec, folder / "store").store
    loss_RN = find_losses(store, spec, protocol.early, *as_inputs(dataset, "train"))
    always: Array = (loss_RN > -np.log(spec.training.eps)).all(axis=0)
    return always


def train_without(
    protocol: Protocol, dataset: Dataset, kept_N: Array, replica: int
) -> xr.Dataset:
    """One replica from its start, without the examples that are not kept."""
    seed = protocol.spec.run.seed
    training = Training.from_spec(
        protocol.spec,
        dataset,
        replicas=[replica],
        order=OrderWithout(seed, replica, kept_N),
    )
    start = training.initial["hidden2"].w.clone()
    curves: dict[str, list[float]] = {name: [] for name in _WORDS}
    for epoch in range(1, protocol.epochs + 1):
        metrics = training.run_epoch()
        for name in (*_LOSSES, "abandoned"):
            curves[name].append(float(getattr(metrics, name)[0]))
        moved = training.weights["hidden2"].w - start
        due = epoch % protocol.every == 0
        spread = float(moved.double().std(correction=0)) if due else np.nan
        curves["deviation"].append(spread)
    return _name_curves(curves)


def _read_reference(protocol: Protocol, folder: Path) -> xr.Dataset:
    """The same of the run with all examples, as far as the others go."""
    spec, shipped = protocol.spec, open_shipped("paper")
    known = spec.run_key in set(shipped.runs()["run_key"])
    store = shipped if known else run(spec, folder / "store").store
    records = store.records(spec.run_key, distributions=False)
    records = records.isel(step=slice(1, protocol.epochs + 1))
    curves = {name: records[name].to_numpy() for name in (*_LOSSES, "abandoned")}
    curves["deviation"] = records["deviation_std"].sel(layer="hidden2").to_numpy()
    found = _name_curves(curves, ("epoch", "replica"))
    return found.assign_coords(replica=range(spec.run.replicas))


def _name_curves(
    curves: dict[str, list[float]] | dict[str, Array],
    dims: tuple[str, ...] = ("epoch",),
) -> xr.Dataset:
    values = {n: (dims, np.asarray(x, dtype=np.float32)) for n, x in curves.items()}
    count = len(next(iter(curves.values())))
    return gather(_WORDS, values, {"epoch": range(1, count + 1)})
