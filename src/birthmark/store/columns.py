"""Columns of the tables of a run; what has more dims than its rows lies flat in bytes.

The bytes of a row are its numbers, little-endian, whose kind stands as `dtype` in the
metadata of the column. Whole numbers are as narrow as those of a flush allow, and have
32 bits at least when they are read. Before version 3 of the format they were lists,
which Parquet writes and reads number by number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from birthmark.shapes import Array

_DTYPE = b"dtype"
_KINDS = tuple((np.iinfo(kind).max, kind) for kind in (np.int8, np.int16))


def narrowest(counts: Array) -> np.dtype[Any]:
    """The kind of whole numbers that is wide enough; no matrix has 2^31 weights."""
    most = counts.view(f"u{counts.itemsize}").max(initial=0)  # of -1 the largest
    return np.dtype(next((kind for end, kind in _KINDS if most <= end), np.int32))


def make_table(columns: Mapping[str, Any]) -> pa.Table:
    """A table of arrays [rows] and [rows, numbers], or of Arrow's own."""
    made = {name: _to_column(name, values) for name, values in columns.items()}
    fields = [field for field, _ in made.values()]
    return pa.table([column for _, column in made.values()], pa.schema(fields))


def to_array(rows: pa.Table, name: str) -> Array:
    """A column [rows] or [rows, numbers]."""
    column, field = rows[name], rows.field(name)
    if not pa.types.is_fixed_size_binary(field.type):
        if column.null_count or not _is_number(field.type):
            return np.asarray(column.to_numpy())
        numbers = [_numbers(chunk) for chunk in column.chunks]
        return np.concatenate([np.empty(0, dtype_of(field)), *numbers])
    dtype = np.dtype(field.metadata[_DTYPE].decode())
    size = field.type.byte_width // dtype.itemsize
    whole = np.empty((len(column), size), dtype_of(field))
    start = 0
    for chunk in column.chunks:
        flat = np.frombuffer(chunk.buffers()[1], dtype)
        begin, end = chunk.offset * size, (chunk.offset + len(chunk)) * size
        whole[start : start + len(chunk)] = flat[begin:end].reshape(-1, size)
        start += len(chunk)
    return whole


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _numbers(chunk: pa.Array) -> Array:
    """As `chunk.to_numpy` gives them where none is missing, without loading pandas."""
    flat = np.frombuffer(chunk.buffers()[1], np.dtype(chunk.type.to_pandas_dtype()))
    return flat[chunk.offset : chunk.offset + len(chunk)]


def dtype_of(field: pa.Field) -> np.dtype[Any]:
    """Of the numbers in a column, when they are read."""
    noted = _noted(field)
    if noted is None:
        plain: np.dtype[Any] = np.dtype(field.type.to_pandas_dtype())
        return plain
    return np.promote_types(noted, np.int32) if noted.kind == "i" else noted


def _noted(field: pa.Field) -> np.dtype[Any] | None:
    """Of the numbers in a row, as they lie in a file; None if a row is one number."""
    noted: np.dtype[Any] | None = None
    if pa.types.is_fixed_size_binary(field.type):
        noted = np.dtype(field.metadata[_DTYPE].decode())
    elif pa.types.is_fixed_size_list(field.type):
        noted = np.dtype(field.type.value_type.to_pandas_dtype())
    return noted


def as_bytes(rows: pa.Table) -> pa.Table:
    """The same rows, with lists of older files as bytes."""
    for place, field in enumerate(rows.schema):
        if pa.types.is_fixed_size_list(field.type):
            chunks = [_numbers(chunk.flatten()) for chunk in rows[place].chunks]
            values = np.concatenate(chunks).reshape(len(rows), field.type.list_size)
            rows = rows.set_column(place, *_to_column(field.name, values))
    return rows


def alike(
    parts: Iterable[pa.Table], schemas: Sequence[pa.Schema]
) -> Iterator[pa.Table]:
    """The same rows, with numbers of one width in each column.

    Args:
        parts: Tables, one after the other.
        schemas: Of all of them, as they lie in their files.
    """
    kinds: dict[str, set[np.dtype[Any]]] = {}
    for field in (field for schema in schemas for field in schema):
        noted = _noted(field)
        if noted is not None:
            kinds.setdefault(field.name, set()).add(noted)
    wide = {name: np.result_type(*of) for name, of in kinds.items() if len(of) > 1}
    for part in parts:
        for name in wide.keys() & set(part.column_names):
            column = _to_column(name, to_array(part, name).astype(wide[name]))
            part = part.set_column(part.schema.get_field_index(name), *column)
        yield part


def narrowed(rows: pa.Table) -> pa.Table:
    """The same rows, with whole numbers as narrow as these rows allow."""
    for place, field in enumerate(rows.schema):
        noted = _noted(field)
        if noted is not None and noted.kind == "i":
            values = to_array(rows, field.name)
            column = _to_column(field.name, values.astype(narrowest(values)))
            rows = rows.set_column(place, *column)
    return rows


def to_float32(rows: pa.Table) -> pa.Table:
    """The same rows with the precision of float32."""
    narrow = {}
    for name in rows.column_names:
        narrow[name] = rows[name]
        if not pa.types.is_string(rows.field(name).type):
            values = to_array(rows, name)
            if values.dtype == np.float64:
                narrow[name] = values.astype(np.float32)
            elif values.ndim == 2:
                narrow[name] = values
    return make_table(narrow)


def bare(field: pa.Field) -> pa.Field:
    """Without what Parquet has noted of it when it was read."""
    kind = (field.metadata or {}).get(_DTYPE)
    return field.with_metadata({_DTYPE: kind} if kind else None)


def _to_column(name: str, values: Any) -> tuple[pa.Field, Any]:
    if not isinstance(values, np.ndarray) or values.ndim == 1:
        column = pa.array(values) if isinstance(values, np.ndarray) else values
        return pa.field(name, column.type), column
    flat = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    width = flat.shape[1] * flat.itemsize
    column = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), len(flat), [None, pa.py_buffer(flat)]
    )
    return pa.field(name, column.type, metadata={_DTYPE: flat.dtype.str}), column
