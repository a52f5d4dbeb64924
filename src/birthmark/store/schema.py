"""What the tables of a run hold: dims, coordinates, units and long names.

One row of a table is one (epoch, replica[, layer or parameter]); what has more dims
lies flat in bytes (`columns.py`). Rows are numbered by the clock of their run: in one
without epochs the column `epoch` counts steps, as `step` does.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import pyarrow as pa

from birthmark.errors import StoreError
from birthmark.shapes import Array, EpochMetrics, StepMetrics
from birthmark.store.columns import make_table, narrowest
from birthmark.store.files import read_json, reading, write_json

if TYPE_CHECKING:
    import xarray as xr

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
class Measured:
    """What was measured at one epoch, as it waits to be written."""

    epoch: int
    step: int
    num_replicas: int
    columns: dict[str, Array]  # [R, layer or parameter, ...]

    @property
    def num_bytes(self) -> int:
        """Of its arrays."""
        return sum(array.nbytes for array in self.columns.values())


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
        if table in self.tables:
            there = dataset.variables
            missing = [name for name in self.tables[table] if name not in there]
            if missing:
                raise StoreError(
                    f"the {table} of this run were begun with measurements that there "
                    f"are no more ({', '.join(sorted(missing))}): delete its folder to "
                    "start it again"
                )
            return self
        moving = {str(name) for name in _data_names(dataset, moving=True)}
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

    def take(self, table: str, epoch: int, step: int, dataset: xr.Dataset) -> Measured:
        """What becomes the rows of one epoch; arrays are copied."""
        variables, columns = dataset.variables, {}
        rows = ("replica", self.axis)
        for name, column in self.tables[table].items():
            variable, dims = variables[name], rows + column.dims
            if variable.dims != dims:
                variable = variable.transpose(*dims)
            values = variable.data
            is_count = column.dims and values.dtype.kind in "iu"
            columns[name] = np.array(values, narrowest(values) if is_count else None)
        return Measured(epoch, step, dataset.sizes["replica"], columns)

    def to_rows(self, table: str, many: Sequence[Measured]) -> pa.Table:
        """The rows of these epochs: replicas outside, layers inside."""
        axis, num_replicas = self.axis, many[0].num_replicas
        names = self.coords[axis].values
        columns = _key_columns(many, num_replicas * len(names))
        replicas = np.repeat(np.arange(num_replicas), len(names))
        columns["replica"] = np.tile(replicas, len(many))
        columns[axis] = pa.array(names * num_replicas * len(many), pa.string())
        for name, column in self.tables[table].items():
            whole = np.array([one.columns[name] for one in many])
            flat = (-1, math.prod(column.shape)) if column.shape else -1
            columns[name] = whole.reshape(flat)
        return make_table(columns)

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
        tables = {
            table: {name: vars(column) for name, column in columns.items()}
            for table, columns in self.tables.items()
        }
        static, coords = (
            {name: vars(fixed) for name, fixed in many.items()}
            for many in (self.static, self.coords)
        )
        write_json(
            path,
            {
                "tables": tables,
                "static": static,
                "coords": coords,
                "metrics": self.metrics,
            },
        )


Kind = TypeVar("Kind", Column, Fixed)


def metrics_of_specs() -> dict[str, dict[str, str]]:
    """The metrics of runs of specs, as `Schema` has them."""
    return {
        name: {"long_name": long_name, "units": units}
        for name, (long_name, units) in METRICS.items()
    }


def copied(metrics: EpochMetrics | StepMetrics) -> EpochMetrics | StepMetrics:
    """The same with arrays of its own."""
    if isinstance(metrics, StepMetrics):
        values = {n: np.array(v, float).ravel() for n, v in metrics.values.items()}
        return dataclasses.replace(metrics, values=values)
    own: dict[str, Any] = {n: np.array(getattr(metrics, n)) for n in METRICS}
    return dataclasses.replace(metrics, **own)


def open_metrics_rows(
    many: Sequence[StepMetrics], names: Iterable[str], num_replicas: int
) -> pa.Table:
    """The rows of these steps, one a replica; what was not noted is null."""
    columns = _key_columns(many, num_replicas)
    columns["replica"] = np.tile(np.arange(num_replicas), len(many))
    epochs = [one.epoch for one in many for _ in range(num_replicas)]
    columns[EPOCHS] = pa.array(epochs, pa.int64())
    none = np.full(num_replicas, np.nan)
    for name in names:
        values = np.concatenate([one.values.get(name, none) for one in many])
        missing = np.repeat([name not in one.values for one in many], num_replicas)
        columns[f"{OPEN}{name}"] = pa.array(values, mask=missing)
    return make_table(columns)


def metrics_rows(many: Sequence[EpochMetrics]) -> pa.Table:
    """The rows of these epochs, one a replica."""
    num_replicas = len(many[0].train_loss)
    columns = _key_columns(many, num_replicas)
    columns["replica"] = np.tile(np.arange(num_replicas), len(many))
    for name, (_, units) in METRICS.items():
        dtype = np.float64 if units == "1" else np.int64
        whole = np.concatenate([getattr(one, name) for one in many])
        columns[name] = whole.astype(dtype)
    return make_table(columns)


def _key_columns(
    many: Sequence[Measured | EpochMetrics | StepMetrics], rows_each: int
) -> dict[str, Any]:
    numbers = [one.step if isinstance(one, StepMetrics) else one.epoch for one in many]
    return {
        "epoch": np.repeat(np.array(numbers, dtype=np.int64), rows_each),
        "step": np.repeat(np.array([o.step for o in many], dtype=np.int64), rows_each),
    }


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
