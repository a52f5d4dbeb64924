"""Columns that are read from a table when somebody looks at them.

The joint counts of a run are nearly all of its records, and few look at them.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from birthmark.shapes import Array
from birthmark.store.columns import to_array
from birthmark.store.segments import StoredTable


def read_late(table: StoredTable, name: str, shape: tuple[int, ...]) -> Any:
    """The first rows of a column in this shape, as the data of a variable of xarray."""
    column = _LateColumn(table, name, shape)
    late = indexing.LazilyIndexedArray(column)
    return indexing.CopyOnWriteArray(late)  # type: ignore[arg-type]  # as xarray does


class _LateColumn(BackendArray):
    def __init__(self, table: StoredTable, name: str, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype = shape, table.dtype(name)
        self._table, self._name = table, name

    @cached_property
    def _whole(self) -> Array:
        flat = to_array(self._table.read([self._name]), self._name).reshape(-1)
        return flat[: math.prod(self.shape)].reshape(self.shape)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._pick
        )

    def _pick(self, key: tuple[Any, ...]) -> Array:
        return np.asarray(self._whole[key])
