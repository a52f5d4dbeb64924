"""From the tables of a run to its records: arrays with named dims."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set

import numpy as np

from birthmark.shapes import Array
from birthmark.store.description import RunDescription
from birthmark.store.files import (
    MissingFileError,
    advise,
    predates_checksums,
    read_sealed,
    reading,
)
from birthmark.store.layout import RunPaths, last_epoch, list_files
from birthmark.store.named_arrays import LateColumn, Records, Variable
from birthmark.store.schema import EPOCHS, METRICS, OPEN, Column, Schema
from birthmark.store.tables import OpenTable

_EPOCH = {"long_name": "epochs finished", "units": "epochs"}
_STEP = {"long_name": "optimizer steps made", "units": "steps"}
_ATTEMPTS = 5
_BINNED = {"bin", "current_bin"}  # dims of what is nearly all of the memory


class RecordsReader:
    """Reads the records of a run, and what came since when it reads again."""

    def __init__(
        self,
        paths: RunPaths,
        what: RunDescription,
        *,
        distributions: bool,
        names: Collection[str] | None = None,
    ) -> None:
        self._paths, self._what, self._names = paths, what, names
        self._distributions = distributions
        self._opened: dict[str, OpenTable] = {}
        self._schema = ("", Schema())  # with its checksum

    def read(self) -> Records:
        """All that was written so far, whoever is writing meanwhile.

        Raises:
            StoreError: A file is missing or damaged.
        """
        for _ in range(_ATTEMPTS - 1):
            names = list_files(self._paths.folder)
            try:
                records = self._read(names)
            except MissingFileError:
                continue
            # who joined or dropped segments meanwhile may have torn the tables
            segments = {name for name in names if name.endswith(".parquet")}
            if segments <= list_files(self._paths.folder):
                return records
        return self._read(list_files(self._paths.folder))

    def _read(self, names: Set[str]) -> Records:
        paths, what = self._paths, self._what
        is_open = what.clock == "step"
        rows = self._look("metrics", names)
        if not rows:
            return _empty(what)
        with reading(paths.folder / "metrics"):
            num_replicas = int(rows["replica"].max()) + 1
            columns = _unfold(rows, num_replicas)
            variables = {} if is_open else _metrics(columns)
        numbers = np.asarray(what.replicas)
        if len(numbers) != num_replicas:
            numbers = np.arange(num_replicas)
        epochs_T = columns["epoch"]
        coords = _clock("", None if is_open else epochs_T, columns["step"])
        coords["replica"] = (("replica",), numbers, {})
        is_measured = paths.schema.exists() or last_epoch(paths.folder, "layers") >= 0
        schema = self._read_schema() if is_measured else Schema()
        if is_open:
            variables = _open_metrics(columns, schema)
            coords |= _noted_epochs(columns)
        if not is_measured:
            return _join(variables, coords)
        coords = {n: fixed.to_variable() for n, fixed in schema.coords.items()} | coords
        variables |= {n: fixed.to_variable() for n, fixed in schema.static.items()}
        names = list_files(paths.folder)  # what the metrics count on is there by now
        for table in schema.tables:
            measured, clock = self._measured(
                table, schema, names, num_replicas, epochs_T
            )
            variables |= measured
            coords |= clock
        records = _join(variables, coords)
        # without checksums damage shows when numbers are read: not later than here
        if predates_checksums(paths.schema):
            for variable in records.data_vars.values():
                variable.to_numpy()
        return records

    def _measured(
        self,
        table: str,
        schema: Schema,
        names: Set[str],
        num_replicas: int,
        epochs_T: Array,
    ) -> tuple[dict[str, Variable], dict[str, Variable]]:
        """Variables of a table, and coordinates of a clock of its own."""
        known = schema.tables[table]
        late = {n: c for n, c in known.items() if _BINNED.intersection(c.dims)}
        asked = known if self._names is None else self._names
        wanted = {n: c for n, c in known.items() if n in asked and n not in late}
        if not wanted and self._names is not None:
            return {}, {}
        rows = self._look(table, names, ("epoch", "step", "replica", *wanted))
        if not rows:
            return {}, {}
        size = len(schema.coords[schema.axis].values)
        with reading(self._paths.folder / table):
            columns = _unfold(rows, num_replicas * size)
            # what a flush has written before its metrics does not count yet
            counting = int(np.searchsorted(columns["epoch"], epochs_T[-1], "right"))
            columns = {name: array[:counting] for name, array in columns.items()}
            where = (table, schema.axis, num_replicas)
            variables = _shaped(wanted, columns, *where, epochs_T)
            for name, column in late.items() if self._distributions else ():
                shape = (counting, num_replicas, size, *column.shape)
                data = LateColumn(self._opened[table].stored, name, shape)
                dims = ("distribution_step", "replica", schema.axis, *column.dims)
                variables[name] = (dims, data, column.attrs)
        if table == "layers":
            return variables, {}
        epochs = None if self._what.clock == "step" else columns["epoch"]
        return variables, _clock("distribution_", epochs, columns["step"])

    def _read_schema(self) -> Schema:
        _, checksum = read_sealed(self._paths.schema)
        if not checksum or checksum != self._schema[0]:
            self._schema = checksum, Schema.read(self._paths.schema)
        return self._schema[1]

    def _look(
        self, table: str, names: Set[str], columns: Sequence[str] | None = None
    ) -> dict[str, Array]:
        """The rows of a table by column; no columns without rows."""
        if table not in self._opened:
            keeps_files = self._distributions and table == "distributions"
            self._opened[table] = OpenTable(
                self._paths.folder, table, keeps_files=keeps_files
            )
        rows = self._opened[table].look(names, columns)
        if not rows and self._paths.done.exists():
            raise MissingFileError(
                f"{self._paths.folder} is done, but its table {table} is missing: "
                f"{advise(self._paths.schema)}"
            )
        return rows


def _join(variables: Mapping[str, Variable], coords: Mapping[str, Variable]) -> Records:
    records = Records(variables, coords)
    records.sizes  # noqa: B018  (refuses those that differ)
    return records


def _unfold(flat: dict[str, Array], per_epoch: int) -> dict[str, Array]:
    """Columns [T, rows of an epoch, ...]; `epoch` and `step` [T]."""
    if len(flat["epoch"]) % per_epoch == 0:
        columns = {
            name: array.reshape(-1, per_epoch, *array.shape[1:])
            for name, array in flat.items()
        }
        epochs = columns["epoch"]
        if (epochs == epochs[:, :1]).all() and (np.diff(epochs[:, 0]) > 0).all():
            return columns | {name: columns[name][:, 0] for name in ("epoch", "step")}
    raise ValueError(f"not {per_epoch} rows for each epoch")


def _metrics(columns: dict[str, Array]) -> dict[str, Variable]:
    attrs = {n: {"long_name": name, "units": u} for n, (name, u) in METRICS.items()}
    variables = {n: (("step", "replica"), columns[n], attrs[n]) for n in METRICS}
    frozen = columns["nonfinite_step"][-1]
    return variables | {
        "nonfinite_step": (("replica",), frozen, attrs["nonfinite_step"])
    }


def _shaped(
    wanted: Mapping[str, Column],
    columns: dict[str, Array],
    table: str,
    axis: str,
    num_replicas: int,
    epochs_T: Array,
) -> dict[str, Variable]:
    """Variables by their dims; scalars lie along all epochs, NaN where none was."""
    places_T = np.searchsorted(epochs_T, columns["epoch"])
    clock = "step" if table == "layers" else "distribution_step"
    variables: dict[str, Variable] = {}
    for name, column in wanted.items():
        values = columns[name]
        shape = (num_replicas, values.shape[1] // num_replicas, *column.shape)
        values = values.reshape(-1, *shape)
        if table == "layers" and len(places_T) == len(epochs_T):
            values = values.astype(float, copy=False)
        elif table == "layers":
            scattered = np.full((len(epochs_T), *shape), np.nan)
            scattered[places_T] = values
            values = scattered
        variables[name] = (
            (clock, "replica", axis, *column.dims),
            values,
            column.attrs,
        )
    return variables


def _open_metrics(columns: dict[str, Array], schema: Schema) -> dict[str, Variable]:
    return {
        name: (("step", "replica"), columns[f"{OPEN}{name}"], attrs)
        for name, attrs in schema.metrics.items()
        if f"{OPEN}{name}" in columns
    }


def _noted_epochs(columns: dict[str, Array]) -> dict[str, Variable]:
    """The coordinate `epoch`, where any was noted; NaN where it was not."""
    if EPOCHS not in columns or np.isnan(columns[EPOCHS]).all():
        return {}
    return {"epoch": (("step",), columns[EPOCHS][:, 0], _EPOCH)}


def _clock(prefix: str, epochs_T: Array | None, steps_T: Array) -> dict[str, Variable]:
    along = (f"{prefix}step",)
    clock: dict[str, Variable] = {f"{prefix}step": (along, steps_T, _STEP)}
    if epochs_T is not None:
        clock[f"{prefix}epoch"] = (along, epochs_T, _EPOCH)
    return clock


def _empty(what: RunDescription) -> Records:
    """Of a run that has not come to its first checkpoint."""
    none = np.empty(0, dtype=np.int64)
    replicas: Variable = (("replica",), np.asarray(what.replicas), {})
    if what.clock == "step":
        return Records({}, {**_clock("", None, none), "replica": replicas})
    num_replicas = len(what.replicas)
    columns = {name: np.empty((0, num_replicas)) for name in METRICS}
    columns["nonfinite_step"] = np.full((1, num_replicas), -1)
    variables = _metrics(columns)
    return Records(variables, {**_clock("", none, none), "replica": replicas})
