"""Filters of a table of runs, by the names of its columns or their last parts."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from birthmark.errors import StoreError


def select(runs: pd.DataFrame, filters: Mapping[str, Any]) -> pd.DataFrame:
    """The rows whose columns equal what is asked for.

    Raises:
        StoreError: A name belongs to no column, or to several.
    """
    for name, wanted in filters.items():
        column = _find_column(name, [str(column) for column in runs.columns])
        value = tuple(wanted) if isinstance(wanted, list) else wanted
        equal = [_equal(one, value) for one in runs[column]]
        runs = runs[np.array(equal, dtype=bool)]
    return runs.reset_index(drop=True)


def _equal(value: Any, wanted: Any) -> bool:
    if wanted is None:
        return not isinstance(value, tuple) and bool(pd.isna(value))
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
