"""One number a replica along an axis: what a network ends with, or when it turned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from birthmark.analysis.axes import Value
from birthmark.analysis.columns import Column
from birthmark.shapes import Array
from birthmark.statistics import Estimate, summarize


@dataclass(frozen=True)
class Quantity:
    """What is looked at, as one number a replica."""

    name: str
    label: str  # with its unit
    scale: Literal["linear", "log"]
    read: Callable[[Column], Array]  # [R]; NaN: not seen, or not recorded


@dataclass(frozen=True)
class Trend:
    """A quantity at each value of an axis."""

    quantity: Quantity
    values: tuple[Value, ...]  # [A] of the axis
    replicas: tuple[Array, ...]  # [A] of [R]; NaN where there is none
    estimates: tuple[Estimate, ...]  # [A]

    @property
    def is_known(self) -> bool:
        """Whether any replica has a value."""
        return any(one.n for one in self.estimates)


def find_trend(columns: Sequence[Column], quantity: Quantity) -> Trend:
    """A quantity along the axis, with intervals over the replicas that have it."""
    replicas = tuple(quantity.read(column) for column in columns)
    return Trend(
        quantity,
        tuple(column.value for column in columns),
        replicas,
        tuple(summarize(values) for values in replicas),
    )


def read_retention(column: Column) -> Array:
    """How readable the mark is at the end, [R]; NaN without a mark."""
    layers = {run.spec.mark.layer for run in column.runs if run.spec.mark is not None}
    if len(layers) != 1:
        return np.full(column.num_replicas, np.nan)
    return column.final("mark_auc", layers.pop())


def _final(name: str) -> Callable[[Column], Array]:
    """A measurement of the layer looked at, at the last epoch with a record."""
    return lambda column: column.final(name, column.layer)


def _transition(name: str) -> Callable[[Column], Array]:
    return lambda column: column.joined(name)


OUTCOMES = (
    Quantity(
        "test_accuracy",
        "final test accuracy",
        "linear",
        lambda column: column.final("test_accuracy"),
    ),
    Quantity("min_test_loss", "least test loss", "log", _transition("min_test_loss")),
    Quantity(
        "min_test_epoch",
        "epoch of the least test loss",
        "log",
        _transition("min_test_epoch"),
    ),
    Quantity(
        "relative_distance",
        "relative distance at the end",
        "log",
        _final("relative_distance"),
    ),
    Quantity(
        "correlation", "correlation with the start", "linear", _final("correlation")
    ),
    Quantity("retention", "retention of the mark (AUC)", "linear", read_retention),
)
