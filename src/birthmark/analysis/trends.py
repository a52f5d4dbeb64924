"""One number a replica along an axis: what a network ends with, or when it turned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from birthmark.analysis.axes import Value
from birthmark.analysis.columns import Column
from birthmark.analysis.kept_marks import POOLED
from birthmark.analysis.studies import Run
from birthmark.shapes import Array
from birthmark.statistics import summarize_curves

# scalars by layer of the library's own table; any other is a user's measurement
MEASURED = frozenset(
    [
        "absorbed_share",
        "cannot_move",
        "changed_share",
        "correlation",
        "correlation_by_noise",
        "cosine",
        "deviation_by_decay",
        "deviation_by_gradient",
        "deviation_by_momentum",
        "deviation_kurtosis",
        "deviation_max",
        "deviation_mean",
        "deviation_mean_abs",
        "deviation_skewness",
        "deviation_std",
        "distance",
        "distance_by_decay",
        "distinct_units",
        "intercept",
        "mark_auc",
        "mark_contrast",
        "mark_pooled_auc",
        "nonfinite_count",
        "output_by_inputs",
        "output_by_noise",
        "output_by_weights",
        "path_length",
        "r_squared",
        "relative_distance",
        "sign_flips",
        "sign_flips_by_noise",
        "slope",
        "step_by_decay",
        "step_by_gradient",
        "step_by_momentum",
        "still_rows",
        "ulp_change",
        "update_ratio",
    ]
)


@dataclass(frozen=True)
class Quantity:
    """What is looked at, as one number a replica."""

    name: str
    label: str  # with its unit
    scale: Literal["linear", "log"]
    read: Callable[[Column], Array]  # [R]; NaN: not seen, or not recorded
    within: tuple[float, float] | None = None  # what its values lie between


@dataclass(frozen=True)
class Trend:
    """A quantity at each value of an axis: means over replicas with intervals."""

    quantity: Quantity
    values: tuple[Value, ...]  # [A] of the axis
    replicas: tuple[Array, ...]  # [A] of [R]; NaN where there is none
    mean: Array  # [A] geometric where the quantity has a log scale
    low: Array  # [A] 95 %, Student's t; NaN for fewer than two replicas
    high: Array  # [A]
    n: Array  # [A] replicas that have a value


def find_trend(columns: Sequence[Column], quantity: Quantity) -> Trend:
    """A quantity along the axis, with intervals over the replicas that have it.

    Marks are read in one way along it: where some columns are read as an eye does, the
    others have no value.
    """
    pooled = read_as_an_eye(columns) if quantity.read is read_retention else []
    replicas = tuple(
        np.full(column.num_replicas, np.nan)
        if pooled and column not in pooled
        else quantity.read(column)
        for column in columns
    )
    curves = [summarize_curves(values, quantity.scale) for values in replicas]
    mean, low, high, n = (
        np.array([getattr(curve, name) for curve in curves])
        for name in ("mean", "low", "high", "n")
    )
    values = tuple(column.value for column in columns)
    return Trend(quantity, values, replicas, mean, low, high, n)


def read_retention(column: Column) -> Array:
    """How readable the mark is at the end, [R]; NaN without a mark."""
    layer = _marked_layer(column)
    if layer is None:
        return np.full(column.num_replicas, np.nan)
    return column.final(find_detector(column.runs, layer), layer)


def read_as_an_eye(columns: Sequence[Column]) -> list[Column]:
    """Those whose mark is read pooled, and not from single weights alone."""
    return [column for column in columns if _is_pooled(column)]


def _is_pooled(column: Column) -> bool:
    layer = _marked_layer(column)
    return layer is not None and find_detector(column.runs, layer) == POOLED


def _marked_layer(column: Column) -> str | None:
    marks = [None if run.given is None else run.given.mark for run in column.runs]
    layers = {mark.layer for mark in marks if mark is not None}
    return layers.pop() if len(layers) == 1 else None


def find_detector(runs: Sequence[Run], layer: str) -> str:
    """The variable by which their mark is read: pooled as an eye does, if all have it.

    Older records, and marks that shift, have the AUC of single weights alone.
    """
    every = all(np.isfinite(run.values(POOLED, layer)).any() for run in runs)
    return POOLED if every else "mark_auc"


def find_quantities(runs: Sequence[Run], *, judged: bool) -> tuple[Quantity, ...]:
    """What may be looked at along an axis, of runs that are told apart as learners.

    Of others: what their own loops recorded, and how far they moved. A user's own
    measurements are there in either case.
    """
    built_in = OUTCOMES if judged else (*find_metrics(runs), *OUTCOMES[3:])
    return (*built_in, *_own_measurements(runs))


def find_metrics(runs: Sequence[Run]) -> tuple[Quantity, ...]:
    """What users' own loops noted: losses on a log scale, accuracies from 0 to 1."""
    return tuple(_metrics(runs))


def _metrics(runs: Sequence[Run]) -> Iterator[Quantity]:
    for name, variable in runs[0].arrays.data_vars.items():
        if variable.dims != ("step", "replica") or variable.dtype.kind != "f":
            continue
        said = f"final {str(name).replace('_', ' ')}"
        every = np.concatenate([run.values(str(name)).ravel() for run in runs])
        is_loss = "loss" in str(name) and not (every <= 0).any()
        is_share = "acc" in str(name) and not ((every < 0) | (every > 1)).any()
        yield Quantity(
            str(name),
            said,
            "log" if is_loss else "linear",
            _read_metric(str(name)),
            (0, 1) if is_share else None,
        )


def _own_measurements(runs: Sequence[Run]) -> Iterator[Quantity]:
    """Numbers by layer that the library does not measure itself."""
    for name, variable in runs[0].arrays.data_vars.items():
        own = str(name) not in MEASURED and not str(name).startswith("bias_")
        if own and variable.dims == ("step", "replica", "layer"):
            said = str(variable.attrs.get("long_name", name))
            yield Quantity(str(name), said, "linear", _final(str(name)))


def _read_metric(name: str) -> Callable[[Column], Array]:
    return lambda column: column.final(name)


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
        (0, 1),
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
        "correlation",
        "correlation with the start",
        "linear",
        _final("correlation"),
        (-1, 1),
    ),
    Quantity(
        "retention", "retention of the mark (AUC)", "linear", read_retention, (0, 1)
    ),
)
