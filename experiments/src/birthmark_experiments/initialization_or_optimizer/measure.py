"""Steps to each loss and final accuracy, by start, optimizer and replica."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from birthmark.analysis import steps_to_reach
from birthmark.shapes import Array
from birthmark.store import Store, open_store
from birthmark.sweeps import Grid, run_grid
from birthmark_experiments.frame import labelled, variable
from birthmark_experiments.initialization_or_optimizer.protocol import (
    LEVELS,
    OPTIMIZERS,
    Protocol,
    describe,
    find_levels,
    spec_of,
)


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Steps to each loss and final accuracy, by start, optimizer and replica."""
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
    steps = np.array([count_steps(one, find_levels(protocol)) for one in records])
    budget = float(records[0]["step"][-1])
    dims = ("initialization", "optimizer")
    return xr.Dataset(
        {
            "steps": variable(
                (*dims, "level", "replica"),
                np.where(np.isnan(steps), budget, steps).reshape(
                    *shape, len(LEVELS), -1
                ),
                "steps to a training loss, at most all",
                "steps",
            ),
            "is_censored": variable(
                (*dims, "level", "replica"),
                np.isnan(steps).astype(np.int8).reshape(*shape, len(LEVELS), -1),
                "whether it was not reached",
            ),
            "test_accuracy": variable(
                (*dims, "replica"),
                accuracy.reshape(*shape, -1),
                "test accuracy after training",
            ),
            "train_loss": variable(
                (*dims, "step", "replica"),
                loss.astype(np.float32).reshape(*shape, *loss.shape[1:]),
                "loss over the whole training set",
                "nat",
            ),
            "search": search,
            "lr": variable("optimizer", list(best.values()), "lr"),
        },
        {
            "initialization": list(protocol.starts),
            "optimizer": list(OPTIMIZERS),
            "level": list(find_levels(protocol)),
            "step": records[0]["step"].to_numpy().astype(np.int32),
        },
        {"protocol": describe(protocol), "budget": int(budget)},
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
                reached = count_steps(records, find_levels(protocol))[-1]
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
        attrs=labelled("geometric mean of steps in the search", "steps"),
    )


def count_steps(records: xr.Dataset, levels: tuple[float, ...]) -> Array:
    """Steps to each training loss, [level, R]; NaN where it is not reached."""
    step_T = records["step"].to_numpy().astype(float)
    return np.array([steps_to_reach(step_T, _loss(records), one) for one in levels])


def _loss(records: xr.Dataset) -> Array:
    loss = records["train_loss_evaluated"].transpose("step", "replica")
    return np.asarray(loss.to_numpy())


def _best(search: xr.DataArray) -> float:
    return float(search["searched_lr"][int(np.nanargmin(search.to_numpy()))])
