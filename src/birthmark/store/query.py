"""Questions to the table of runs: filters by names of columns, and SQL by DuckDB."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from birthmark.errors import MissingDependencyError, StoreError
from birthmark.store.index import distinct, visible

if TYPE_CHECKING:
    import pandas as pd


def select(
    runs: pa.Table, filters: Mapping[str, Any], known: Iterable[str] = ()
) -> pa.Table:
    """The rows whose columns equal what is asked for.

    Args:
        runs: The table of `read_rows`.
        filters: Values by the names of columns.
        known: Columns that there are even if no run has a value in them.

    Raises:
        StoreError: A name belongs to no column, or to several.
    """
    for name, wanted in filters.items():
        column = _find_column(name, [*dict.fromkeys([*known, *visible(runs)])])
        value = tuple(wanted) if isinstance(wanted, list) else wanted
        if column not in runs.column_names:
            runs = runs if value is None else runs.slice(0, 0)
            continue
        different, places = distinct(runs, column)
        equal = np.array([_equal(one, value) for one in different])
        runs = runs.filter(pa.array(equal[places]))
    return runs


def _equal(value: Any, wanted: Any) -> bool:
    if wanted is None or value is None:
        return value is None and wanted is None
    return type(value) in (type(wanted), int, float) and bool(value == wanted)


def _find_column(name: str, columns: list[str]) -> str:
    if name in columns:
        return name
    found = [column for column in columns if column.endswith(f".{name}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise StoreError(f"filter {name!r} could mean {' or '.join(found)}: name one")
    last_parts = {column.rpartition(".")[2]: column for column in columns}
    near = difflib.get_close_matches(name, [*columns, *last_parts], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "the columns of runs() have names"
    raise StoreError(f"unknown filter {name!r}: {hint}")


def query(runs: pa.Table, sql: str) -> pd.DataFrame:
    """What DuckDB answers, with the table of `read_rows` under the name `runs`.

    Raises:
        MissingDependencyError: DuckDB is not installed.
        StoreError: DuckDB does not understand the question.
    """
    try:
        import duckdb
    except ImportError as error:
        raise MissingDependencyError(
            "questions in SQL need DuckDB: pip install 'birthmark[sql]'"
        ) from error
    with duckdb.connect() as connection:
        connection.register("runs", _typed(runs))
        try:
            frame: pd.DataFrame = connection.execute(sql).df()
        except duckdb.Error as error:
            reason = str(error).strip().splitlines()[0]
            raise StoreError(f"the question {sql!r} fails: {reason}") from error
    return frame


def _typed(runs: pa.Table) -> pa.Table:
    """Numbers as numbers, lists as lists; values of several kinds as JSON."""
    columns = {}
    for name in visible(runs):
        values, places = distinct(runs, name)
        try:
            plain = pa.array(
                [list(one) if isinstance(one, tuple) else one for one in values]
            )
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            plain = pa.array([None if v is None else json.dumps(v) for v in values])
        columns[name] = plain.take(pa.array(np.asarray(places, dtype=np.int64)))
    return pa.table(columns)
