"""The moments of a training at which a replica is looked at."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from birthmark.analysis import Run, Transitions

Moment = Callable[[Transitions, int], float]  # the epoch of a replica, by its place
Reader = Callable[[Run, Transitions, int], float]


def at_min_test(found: Transitions, place: int) -> float:
    """The minimum of the test loss; the end while it is still falling."""
    return _finite_or(found.min_test_epoch[place], found.last_epoch)


def at_min_train(found: Transitions, place: int) -> float:
    """The minimum of the train loss; the end while it is still falling."""
    return _finite_or(found.min_train_epoch[place], found.last_epoch)


def at_end(found: Transitions, place: int) -> float:
    """The last epoch."""
    return float(found.last_epoch)


MOMENTS: dict[str, Moment] = {
    "the minimum of the test loss": at_min_test,
    "the minimum of the train loss": at_min_train,
    "the end": at_end,
}


def read_at(name: str, epoch: Moment) -> Reader:
    """How to read a variable, between the hidden layers, at a moment."""

    def read(run: Run, found: Transitions, place: int) -> float:
        return value_at(run, name, run.layer, epoch(found, place), place)

    return read


def value_at(run: Run, name: str, layer: str, epoch: float, place: int) -> float:
    """A variable of one replica at the last recorded epoch up to this one."""
    if not math.isfinite(epoch):
        return math.nan
    values = run.values(name, layer)[:, place]
    epochs = run.records["epoch"].to_numpy()
    known = np.flatnonzero(np.isfinite(values) & (epochs <= epoch))
    return float(values[known[-1]]) if len(known) else math.nan


def _finite_or(value: float, other: float) -> float:
    """A minimum that is still falling lies at the end so far."""
    return float(value) if math.isfinite(value) else float(other)
