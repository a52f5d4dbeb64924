"""The table of runs in one file beside them, so that a store is not opened run by run.

`index.parquet` has one row a run and a column for each field, values as JSON (Parquet
keeps each different text once). A run that is done does not change: its row stands
while its folder has the same time of change. All others are looked at anew. A lost, old
or damaged index is made again from the runs; it holds nothing that they do not.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from birthmark.errors import StoreError
from birthmark.shapes import Array
from birthmark.store import files
from birthmark.store.checksums import BLANK
from birthmark.store.layout import LEAST_RUNS, holds_run, is_run_key

if TYPE_CHECKING:
    import pandas as pd

_FILE = "index.parquet"
_STAMP = "folder_changed"  # nanoseconds, of this file alone
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_TELLING = ("run_key", "state", _STAMP)
_PLAIN = {
    **dict.fromkeys(("run_key", "state", "problem", "kind", "name"), pa.string()),
    **dict.fromkeys(("epoch", "step", "replica", _STAMP), pa.int64()),
    "wall_time_s": pa.float64(),
    "written": pa.timestamp("ns", "UTC"),
}

Row = Mapping[str, Any]


def read_rows(store: Path, look: Callable[[str], Row]) -> pa.Table:
    """The table of runs, in order of their keys; `to_frame` decodes it.

    Args:
        store: The folder of the store.
        look: Gives the row of a run, by opening it.

    Raises:
        StoreError: The folder cannot be listed.
    """
    stamps = _list_folders(store)
    index = _load(store / _FILE) if len(stamps) >= LEAST_RUNS else None
    kept = None if index is None else _find_kept(index, stamps)
    known = set() if kept is None else set(kept["run_key"].to_pylist())
    fresh: list[Row] = [
        {**look(key), _STAMP: stamp}
        for key, stamp in stamps.items()
        if key not in known and holds_run(store / key)
    ]
    table = _to_table(fresh) if kept is None else _join(kept, fresh)
    gone = index is not None and (kept is None or len(kept) + len(fresh) < len(index))
    settled = any(row["state"] == "done" for row in fresh)
    if len(table) >= LEAST_RUNS and (settled or gone or index is None):
        _save(store / _FILE, table)
    return table


def list_rows(store: Path, look: Callable[[str], Row]) -> list[Row]:
    """The same rows, one mapping a run; an index that is nearly whole stays as it is.

    So no pandas is loaded, which comes with everything that Arrow makes of lists.
    """
    stamps = _list_folders(store)
    index = _load(store / _FILE)
    stands = [] if index is None else _stand(index, stamps)
    if index is None or len(stamps) - sum(stands) > LEAST_RUNS:
        return _to_rows(read_rows(store, look))
    kept = [row for row, one in zip(_to_rows(index), stands, strict=True) if one]
    fresh = stamps.keys() - {row["run_key"] for row in kept}
    kept += [look(key) for key in fresh if holds_run(store / key)]
    return sorted(kept, key=lambda row: str(row["run_key"]))


def _list_folders(store: Path) -> dict[str, int]:
    """When each folder that is named like a run was changed last."""
    with files.reading(store), os.scandir(store) as entries:
        return {
            entry.name: entry.stat().st_mtime_ns
            for entry in entries
            if is_run_key(entry.name)
        }


def _load(path: Path) -> pa.Table | None:
    if not path.exists():
        return None
    with contextlib.suppress(StoreError), files.reading(path):
        content = pa.BufferReader(files.read_bytes(path))
        names = pq.read_schema(content).names
        content.seek(0)
        texts = [name for name in names if name not in _PLAIN]
        # not read_table, which loads pandas
        table = pq.ParquetFile(content, read_dictionary=texts).read()
        if set(_PLAIN) <= set(names):
            return table
    return None


def _save(path: Path, table: pa.Table) -> None:
    plain = table.schema
    for name in table.column_names:
        if pa.types.is_dictionary(plain.field(name).type):
            place = plain.get_field_index(name)
            plain = plain.set(place, pa.field(name, pa.string()))
    whole = table.cast(plain).replace_schema_metadata({"checksum": BLANK})
    with contextlib.suppress(StoreError), files.sealing(path) as temporary:
        pq.write_table(whole, temporary)  # nobody has to be able to write here
    files.remove_leftovers(path)


def _find_kept(index: pa.Table, stamps: Mapping[str, int]) -> pa.Table:
    """The rows of runs that were done, and have not changed since."""
    return index.filter(pa.array(_stand(index, stamps), pa.bool_()))


def _stand(index: pa.Table, stamps: Mapping[str, int]) -> list[bool]:
    """Of each row, whether its run was done, and has not changed since."""
    rows = zip(*(index[name].to_pylist() for name in _TELLING), strict=True)
    return [state == "done" and stamps.get(key) == at for key, state, at in rows]


def _join(old: pa.Table, fresh: list[Row]) -> pa.Table:
    if not fresh:
        return old
    tables = [_as_texts(old), _to_table(fresh)]
    return pa.concat_tables(tables, promote_options="default").sort_by("run_key")


def _as_texts(table: pa.Table) -> pa.Table:
    for place, name in enumerate(table.column_names):
        if pa.types.is_dictionary(table.schema.field(name).type):
            column = table[name].cast(pa.string())
            table = table.set_column(place, name, column)
    return table


def _to_table(rows: Iterable[Row]) -> pa.Table:
    rows = list(rows)
    names = dict.fromkeys([*_PLAIN, *(name for row in rows for name in row)])
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        if name not in _PLAIN:
            values = [None if v is None else json.dumps(v) for v in values]
        columns[name] = pa.array(values, _PLAIN.get(name, pa.string()))
    return pa.table(columns).sort_by("run_key")


def to_frame(table: pa.Table) -> pd.DataFrame:
    """The table with values as they are, lists as tuples."""
    import pandas as pd

    columns = {
        name: _plain(table[name]) if name in _PLAIN else _decoded(table, name)
        for name in visible(table)
    }
    return pd.DataFrame(columns)


def _to_rows(table: pa.Table) -> list[Row]:
    """None where a run has no such field."""
    names = visible(table)
    columns = [_read_through(table[name], name) for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _read_through(column: pa.ChunkedArray, name: str) -> list[Any]:
    if name == "written":  # of times Arrow makes those of pandas
        moments = column.cast(pa.int64()).to_pylist()
        return [_BEGINNING + timedelta(microseconds=ns // 1000) for ns in moments]
    if name in _PLAIN:
        return list(column.to_pylist())
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    found: list[Any] = []
    for chunk in column.chunks:
        values = [_read(text) for text in chunk.dictionary.to_pylist()]
        places = chunk.indices.to_pylist()
        found += [None if place is None else values[place] for place in places]
    return found


def _read(text: str) -> Any:
    value = json.loads(text)
    return tuple(value) if isinstance(value, list) else value


def visible(table: pa.Table) -> list[str]:
    """The columns that are for users."""
    return [name for name in table.column_names if name != _STAMP]


def _plain(column: pa.ChunkedArray) -> pd.Series:
    import pandas as pd

    if pa.types.is_integer(column.type):
        return pd.Series(column.to_pandas(integer_object_nulls=True), dtype="Int64")
    series: pd.Series = column.to_pandas()
    return series


def _decoded(table: pa.Table, name: str) -> pd.Series:
    """Each different text is read once."""
    import pandas as pd

    different, places = distinct(table, name)
    if not len(places):
        return pd.Series([], dtype=object)
    if places.max() < len(different) - 1:
        del different[-1]
    # whole numbers stay so where some rows have none
    whole = {type(value) for value in different[:-1]} == {int}
    kind = "Int64" if whole and different[-1] is None else None
    return pd.Series(different, dtype=kind).take(places).reset_index(drop=True)


def distinct(table: pa.Table, name: str) -> tuple[list[Any], Array]:
    """The different values of a column, None at last; and which one each row has."""
    column = table[name]
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):  # without any row
        return [None], np.empty(0, dtype=np.int64)
    values = whole.dictionary.to_pylist()
    if name not in _PLAIN:
        values = [_read(text) for text in values]
    places = whole.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    return [*values, None], places
