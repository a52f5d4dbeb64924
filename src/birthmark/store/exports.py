"""Records for other programs: one long table, or one file a run."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from birthmark.errors import MissingDependencyError, StoreError
from birthmark.store import files
from birthmark.store.description import RUN_COLUMNS
from birthmark.store.runs import Store

_log = logging.getLogger("birthmark")

_TABLES = (".parquet", ".csv")
_ARRAYS = {".nc": "netCDF", ".zarr": "Zarr"}


def export_store(store: Store, out: str | Path) -> list[Path]:
    """Write the records of all runs that can be read.

    `NAME.parquet` and `NAME.csv` are one table: a row for each run, epoch, replica and
    layer, with the losses, what was measured as one number, and the fields in which the
    runs differ. `FOLDER.nc` (netCDF 4) and `FOLDER.zarr` are folders with all records
    of each run under its key; there `loss/val` is called `loss.val`.

    Args:
        store: Any.
        out: Where to; its ending says what is written.

    Returns:
        The files.

    Raises:
        StoreError: The ending is none of these, or nothing can be written.
        MissingDependencyError: A package is needed that is not installed.
    """
    path = Path(out)
    files.refuse_place_of_run(path)
    if path.suffix in _TABLES:
        files.check_target(path)
        return [_write_table(store, path)]
    if path.suffix not in _ARRAYS:
        endings = ", ".join([*_TABLES, *_ARRAYS])
        raise StoreError(f"{path} has no ending that is known: there are {endings}")
    _require("h5netcdf" if path.suffix == ".nc" else "zarr", path.suffix)
    files.make_folder(path)
    written = []
    for key, records in _readable(store):
        target = path / f"{key}{path.suffix}"
        plain = records.assign_attrs().drop_attrs(deep=False)
        plain = plain.assign_attrs(plain_attrs(records.attrs))
        for name in plain.variables:
            plain[name].attrs = plain_attrs(plain[name].attrs)
        plain = plain.rename(_without_slashes(plain))
        if path.suffix == ".nc":
            with files.replacing(target) as temporary:
                plain.to_netcdf(temporary, engine="h5netcdf")
        else:
            with files.replacing_folder(target, _is_zarr_of_run) as temporary:
                # texts have no settled form in the third version of the format
                plain.to_zarr(
                    temporary,
                    mode="w",
                    zarr_format=2,
                    consolidated=True,
                    write_empty_chunks=True,  # what an absent one holds is not settled
                )
        written.append(target)
    return written


def _is_zarr_of_run(folder: Path) -> bool:
    """Whether it holds what an export of that run writes, and nothing else."""
    try:
        attrs = json.loads((folder / ".zattrs").read_text(encoding="utf-8"))
        of_run = attrs["run_key"] == folder.stem
        names = {path.name for path in folder.iterdir() if not _is_zarr_array(path)}
    except (OSError, ValueError, TypeError, KeyError):
        return False
    return of_run and names <= {".zattrs", ".zgroup", ".zmetadata"}


def _is_zarr_array(path: Path) -> bool:
    return (path / ".zarray").is_file()


def plain_attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as every format has them: numbers, texts, lists of either."""
    found: dict[str, Any] = {}
    for name, value in attrs.items():
        if isinstance(value, bool):
            found[str(name)] = int(value)
        elif isinstance(value, list | tuple):
            numbers = all(type(one) in (int, float) for one in value) and value
            found[str(name)] = list(value) if numbers else ", ".join(map(str, value))
        elif isinstance(value, int | float | str):
            found[str(name)] = value
        elif value is not None:
            found[str(name)] = str(value)
    return found


def _without_slashes(records: xr.Dataset) -> dict[str, str]:
    """New names of variables as `loss/val`: a slash would make a group of it."""
    names = [str(name) for name in records.variables]
    found: dict[str, str] = {}
    for name in names:
        if "/" in name:
            new = name.strip("/").replace("/", ".")
            while new in names or new in found.values():
                new += "_"
            found[name] = new
    return found


def _readable(store: Store) -> Iterator[tuple[str, xr.Dataset]]:
    for key in store.runs()["run_key"]:
        try:
            records = store.records(key)
        except files.DamageError as error:
            _log.warning("run %s is left out: %s", key, error)
            continue
        if records.sizes.get("step", 0):
            yield key, records


def _write_table(store: Store, path: Path) -> Path:
    parts = []
    for key, records in _readable(store):
        table = _long(records)
        table.insert(0, "run_key", key)
        parts.append(table)
    if not parts:
        raise StoreError(f"{store.path} holds no records yet: nothing to export")
    rows = pd.concat(parts, ignore_index=True)
    for name in rows.columns:
        if rows[name].dtype == object:
            rows[name] = _of_one_kind(rows[name])
    runs = store.runs().set_index("run_key")
    varied = runs.columns[runs.map(str).nunique() > 1]
    fields = {
        f"field.{name}" if name in rows else name: _of_one_kind(runs[name])
        for name in varied
        if name not in RUN_COLUMNS - {"name"}
    }
    said = pd.DataFrame(fields).reindex(rows["run_key"]).reset_index(drop=True)
    whole = pd.concat([rows, said], axis=1)
    with files.replacing(path) as temporary:
        if path.suffix == ".csv":
            whole.to_csv(temporary, index=False)
        else:
            with temporary.open("wb") as file:  # its name need not be UTF-8
                rows = pa.Table.from_pandas(whole, preserve_index=False)
                pq.write_table(rows, file)
    return path


def _of_one_kind(field: pd.Series) -> pd.Series:
    """A field by run, of numbers or of texts; what a run has not is missing."""
    given = [None if _is_missing(one) else one for one in field.tolist()]
    kinds = {type(one) for one in given if one is not None}
    if any(not issubclass(kind, int | float) or kind is bool for kind in kinds):
        given = [None if one is None else _as_text(one) for one in given]
        return pd.Series(given, field.index, dtype="str")
    return pd.Series(given, field.index, dtype=None if kinds == {int} else float)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value != value


def _as_text(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _long(records: xr.Dataset) -> pd.DataFrame:
    """A row for each step, replica and layer."""
    dims = [dim for dim in ("step", "replica", "layer") if dim in records.dims]
    names = [
        name
        for name, variable in records.data_vars.items()
        if "step" in variable.dims and set(variable.dims) <= set(dims)
    ]
    kept = records[names].drop_vars(
        [n for n in records.coords if n not in (*dims, "epoch")], errors="ignore"
    )
    table = kept.to_dataframe(dim_order=dims).reset_index()
    if "layer" in table:
        table["layer"] = table["layer"].astype(str)
    return table.astype({n: float for n in names if table[n].dtype == np.float32})


def _require(package: str, ending: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise MissingDependencyError(
            f"{_ARRAYS[ending]} needs {package}: pip install 'birthmark[export]'"
        ) from error
