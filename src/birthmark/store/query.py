"""Filters of a table of runs, by the names of its columns or their last parts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from birthmark.errors import StoreError
from birthmark.store.index import distinct, visible


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
