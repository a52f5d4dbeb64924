"""What the tables of a run hold: dims, coordinates, units and long names.

One row of a table is one (epoch, replica[, layer or parameter]); what has more dims
lies flat in a list of fixed size. Rows are numbered by the clock of their run: in one
without epochs the column `epoch` counts steps, as `step` does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa
import xarray as xr

from birthmark.errors import StoreError
from birthmark.shapes import Array, EpochMetrics, StepMetrics
from birthmark.store.files import read_json, reading, write_json

# of runs of specs, name: (long name, units); those whose units are not 1 are counts
METRICS = {
    "train_loss": ("training loss, mean over the epoch as visited", "1"),
    "test_loss": ("test loss", "1"),
    "train_accuracy": ("training accuracy, mean over the epoch as visited", "1"),
    "test_accuracy": ("test accuracy", "1"),
    "below_eps": ("examples whose true class had a probability below eps", "examples"),
    "saturated": ("examples whose true class was above 1 - eps", "examples"),
    "abandoned": ("examples below eps that the clipped loss gave up", "examples"),
    "nonfinite_step": ("step at which NaN or Inf froze the replica, or -1", "steps"),
    "train_loss_evaluated": ("training loss at the end of the epoch", "1"),
    "train_accuracy_evaluated": ("training accuracy at the end of the epoch", "1"),
}


EPOCHS = "epochs finished"  # column of a run that counts steps
OPEN = "metric "  # before the names of its metrics, which may be any


@dataclasses.dataclass(frozen=True)
class Column:
    """A variable of a table; its first dims are the rows'."""

    dims: tuple[str, ...]  # behind replica and layer
    shape: tuple[int, ...]  # the sizes of these
    attrs: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Fixed:
    """An array that stays the same through a run: a coordinate, or `bound`."""

    dims: tuple[str, ...]
    values: list[Any]
    attrs: dict[str, Any]

    def to_variable(self) -> tuple[tuple[str, ...], Array, dict[str, Any]]:
        """As xarray takes it."""
        return self.dims, np.asarray(self.values), self.attrs


@dataclasses.dataclass(frozen=True)
class Schema:
    """The tables `layers` and `distributions`, as they were first seen."""

    tables: dict[str, dict[str, Column]] = dataclasses.field(default_factory=dict)
    static: dict[str, Fixed] = dataclasses.field(default_factory=dict)
    coords: dict[str, Fixed] = dataclasses.field(default_factory=dict)
    metrics: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)

    @property
    def axis(self) -> str:
        """What rows are of beside replicas: `layer`, or `parameter` of any network."""
        return "parameter" if "parameter" in self.coords else "layer"

    def with_metrics(self, names: Iterable[str]) -> Schema:
        """With these metrics too; itself if they are known."""
        new = [name for name in names if name not in self.metrics]
        if not new:
            return self
        said = {n: {"long_name": n.replace("_", " "), "units": "1"} for n in new}
        return dataclasses.replace(self, metrics={**self.metrics, **said})

    def extended(self, table: str, dataset: xr.Dataset) -> Schema:
        """With one more table; what has no dim `replica` is static.

        A run that an older version has begun goes on with the measurements of that
        version: what came since is not among its columns, and left out of its rows.

        Raises:
            StoreError: A variable with which the table was begun is missing.
        """
        moving = {str(name) for name in _data_names(dataset, moving=True)}
        if table in self.tables:
            missing = ", ".join(sorted(self.tables[table].keys() - moving))
            if missing:
                raise StoreError(
                    f"the {table} of this run were begun with measurements that there "
                    f"are no more ({missing}): delete its folder to start it again"
                )
            return self
        columns = {name: _column(dataset.variables[name]) for name in sorted(moving)}
        static, coords = (
            {str(name): _fixed(dataset.variables[name]) for name in names}
            for names in (_data_names(dataset, moving=False), dataset.coords)
        )
        return Schema(
            {**self.tables, table: columns},
            {**static, **self.static},
            {**coords, **self.coords},
            self.metrics,
        )

    def to_rows(
        self, table: str, epoch: int, step: int, dataset: xr.Dataset
    ) -> pa.Table:
        """The rows of one epoch, replicas outside, layers inside; arrays are copied."""
        axis = self.axis
        names = self.coords[axis].values
        num_replicas = dataset.sizes["replica"]
        columns = _key_columns(epoch, step, num_replicas * len(names))
        columns["replica"] = np.repeat(np.arange(num_replicas), len(names))
        columns[axis] = pa.array(names * num_replicas, pa.string())
        for name, column in self.tables[table].items():
            variable, dims = dataset.variables[name], ("replica", axis, *column.dims)
            if variable.dims != dims:
                variable = variable.transpose(*dims)
            columns[name] = _flatten(np.asarray(variable.data), column.shape)
        return pa.table(columns)

    @classmethod
    def read(cls, path: Path) -> Self:
        """From `schema.json`."""
        content = read_json(path)
        with reading(path):
            return cls(
                {
                    table: {name: _from_json(Column, c) for name, c in columns.items()}
                    for table, columns in content["tables"].items()
                },
                {name: _from_json(Fixed, f) for name, f in content["static"].items()},
                {name: _from_json(Fixed, f) for name, f in content["coords"].items()},
                content["metrics"],
            )

    def write(self, path: Path) -> None:
        """To `schema.json`."""
        write_json(path, dataclasses.asdict(self))


Kind = TypeVar("Kind", Column, Fixed)


def metrics_of_specs() -> dict[str, dict[str, str]]:
    """The metrics of runs of specs, as `Schema` has them."""
    return {
        name: {"long_name": long_name, "units": units}
        for name, (long_name, units) in METRICS.items()
    }


def open_metrics_rows(
    metrics: StepMetrics, names: Iterable[str], num_replicas: int
) -> pa.Table:
    """The rows of one step, one a replica; what was not noted is null."""
    columns = _key_columns(metrics.step, metrics.step, num_replicas)
    columns["replica"] = np.arange(num_replicas)
    epochs = pa.array([metrics.epoch] * num_replicas, pa.int64())
    table = pa.table({**columns, EPOCHS: epochs})
    for name in names:
        column = pa.nulls(num_replicas, pa.float64())
        if name in metrics.values:
            column = pa.array(np.asarray(metrics.values[name], float).ravel())
        table = table.append_column(f"{OPEN}{name}", column)
    return table


def metrics_rows(metrics: EpochMetrics) -> pa.Table:
    """The rows of one epoch, one a replica; arrays are copied."""
    columns = _key_columns(metrics.epoch, metrics.step, len(metrics.train_loss))
    columns["replica"] = np.arange(len(metrics.train_loss))
    for name, (_, units) in METRICS.items():
        dtype = np.float64 if units == "1" else np.int64
        columns[name] = np.array(getattr(metrics, name), dtype=dtype)
    return pa.table(columns)


def to_array(column: pa.ChunkedArray) -> Array:
    """A column by rows; a list of fixed size becomes a second axis."""
    if not pa.types.is_fixed_size_list(column.type):
        return np.asarray(column.to_numpy())
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(flat).reshape(len(column), column.type.list_size)


def _key_columns(epoch: int, step: int, num_rows: int) -> dict[str, Any]:
    return {
        "epoch": np.full(num_rows, epoch, dtype=np.int64),
        "step": np.full(num_rows, step, dtype=np.int64),
    }


def _flatten(values: Array, shape: tuple[int, ...]) -> pa.Array:
    # counts by bin: no matrix has 2^31 weights
    narrow = pa.int32() if shape and values.dtype.kind in "iu" else None
    flat = pa.array(np.array(values).ravel(), type=narrow)
    if not shape:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(shape)))


def _data_names(dataset: xr.Dataset, *, moving: bool) -> list[Hashable]:
    coords = set(dataset.coords)  # made anew at each look
    return [
        name
        for name, variable in dataset.variables.items()
        if name not in coords and ("replica" in variable.dims) == moving
    ]


def _column(variable: xr.Variable) -> Column:
    inner = [d for d in variable.dims if d not in ("replica", "layer", "parameter")]
    dims = tuple(str(dim) for dim in inner)
    shape = tuple(variable.sizes[dim] for dim in inner)
    return Column(dims, shape, dict(variable.attrs))


def _fixed(variable: xr.Variable) -> Fixed:
    dims = tuple(str(dim) for dim in variable.dims)
    return Fixed(dims, variable.to_numpy().tolist(), dict(variable.attrs))


def _from_json(kind: type[Kind], content: dict[str, Any]) -> Kind:
    tuples = {
        name: tuple(content[name]) for name in ("dims", "shape") if name in content
    }
    return kind(**{**content, **tuples})
