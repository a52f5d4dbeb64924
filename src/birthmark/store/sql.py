"""Questions in SQL about the table of runs, answered by DuckDB."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa

from birthmark.errors import MissingDependencyError, StoreError
from birthmark.store.index import distinct, visible


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
