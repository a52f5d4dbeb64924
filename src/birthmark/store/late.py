"""Columns that xarray reads from a table when somebody looks at them."""

from __future__ import annotations

from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from birthmark.shapes import Array
from birthmark.store.named_arrays import LateColumn


def to_lazy(column: LateColumn) -> Any:
    """The data of a variable of xarray."""
    late = indexing.LazilyIndexedArray(_LazyColumn(column))
    return indexing.CopyOnWriteArray(late)  # type: ignore[arg-type]  # as xarray does


class _LazyColumn(BackendArray):
    def __init__(self, column: LateColumn) -> None:
        self.shape, self.dtype = column.shape, column.dtype
        self._column = column

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._pick
        )

    def _pick(self, key: tuple[Any, ...]) -> Array:
        return np.asarray(self._column.whole[key])
