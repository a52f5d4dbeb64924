"""Steps to each loss and final accuracy, by start, optimizer and replica."""

from pathlib import Path

import numpy as np
import xarray as xr

from birthmark.analysis import steps_to_reach
from birthmark.shapes import Array
from birthmark.store import Store, open_store
from ..frame import each, gather, labelled
from ..frame.probes import stack_curves, train_all
from .protocol import OPTIMIZERS, Protocol, describe, find_levels, spec_of

_WORDS = {
    "steps": ("steps to a training loss, at most all", "steps"),
    "is_censored": ("whether it was not reached", "1"),
    "test_accuracy": ("test accuracy after training", "1"),
    "train_loss": ("loss over the whole training set", "nat"),
    "lr": ("lr", "1"),
}


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Steps to each loss and final accuracy, by start, optimizer and replica."""
    store = open_store(folder / "store", create=True)
    search = search_lrs(protocol, store)
    best = {
        name: float(one["searched_lr"][int(np.nanargmin(one.to_numpy()))])
        for name, one in each(search, "optimizer").items()
    }
    specs = [
        spec_of(protocol, start, optimizer, lr)
        for start in protocol.starts
        for optimizer, lr in best.items()
    ]
    records, levels = train_all(specs, store), find_levels(protocol)
    accuracy = np.array([one["test_accuracy"].to_numpy()[-1] for one in records])
    steps = np.array([count_steps(one, levels) for one in records])
    budget = float(records[0]["step"][-1])
    loss = stack_curves(records, "train_loss_evaluated")

    def by_cell(values: Array) -> Array:
        return values.reshape(len(protocol.starts), -1, *values.shape[1:])

    dims, replica = ("initialization", "optimizer"), "replica"
    least = np.where(np.isnan(steps), budget, steps)
    values = {
        "steps": ((*dims, "level", replica), by_cell(least)),
        "is_censored": ((*dims, "level", replica), by_cell(np.isnan(steps))),
        "test_accuracy": ((*dims, replica), by_cell(accuracy)),
        "train_loss": ((*dims, "step", replica), by_cell(loss)),
        "lr": ("optimizer", list(best.values())),
    }
    coords = {
        "initialization": list(protocol.starts),
        "optimizer": list(OPTIMIZERS),
        "level": list(levels),
        "step": records[0]["step"].to_numpy(),
    }
    results = gather(_WORDS, values, coords).assign(search=search)
    return results.assign_attrs(protocol=describe(protocol), budget=int(budget))


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
            steps = []
            for records in train_all(specs, store):
                budget = float(records["step"][-1])
                reached = count_steps(records, find_levels(protocol))[-1]
                steps.append(np.nan_to_num(reached, nan=budget))
            found[row, column] = np.exp(np.mean(np.log(steps)))
            lrs[row, column] = lr
    dims = ("candidate", "optimizer")
    coords = {"optimizer": list(OPTIMIZERS), "searched_lr": (dims, lrs)}
    words = labelled("geometric mean of steps in the search", "steps")
    return xr.DataArray(found, coords, dims, attrs=words)


def count_steps(records: xr.Dataset, levels: tuple[float, ...]) -> Array:
    """Steps to each training loss, [level, R]; NaN where it is not reached."""
    step_T = records["step"].to_numpy().astype(float)
    loss_TR = records["train_loss_evaluated"].transpose("step", "replica").to_numpy()
    return np.array([steps_to_reach(step_T, loss_TR, one) for one in levels])
