"""Tables of records as immutable Parquet segments.

`layers-000040.parquet` ends at epoch 40 and says in its metadata after which epoch it
begins: the end of the segment before it, -1 for the first. Read from the newest back,
the segments form a chain; a segment off the chain has been replaced by a longer one and
is only waiting to be removed. So several segments become one by a single rename, and a
reader sees each row once at every moment.

A segment of metrics, which a flush writes last, says in addition how far the other
tables reach: one that has lost its newest segment is not taken for one that ends there.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from birthmark.errors import StoreError
from birthmark.store.checksums import BLANK, sealed
from birthmark.store.columns import alike, as_bytes, bare, dtype_of, narrowed
from birthmark.store.files import (
    check_exists,
    read_bytes,
    read_sealed,
    reading,
    remove,
    replace_content,
    sealing,
    sync,
)
from birthmark.store.layout import find_segments, last_epoch, list_files

# in the order in which a flush writes them: an epoch counts when its metrics are there
TABLES = ("layers", "distributions", "metrics")

_AFTER, _REACH = b"birthmark_after_epoch", b"birthmark_reach"
_OF = b"birthmark_of"  # the run and the table: a whole file may lie in a wrong place
_LARGE = 2**20  # bytes; less is read before threads have begun
_SMALLEST = 19  # level of zstd
_GROUP, _GROUPS = 2**16, {"distributions": 2**10}  # rows that are written at a time


@dataclass(frozen=True)
class Segment:
    """A file of rows from the epoch after `after` up to `last`."""

    path: Path
    after: int
    last: int
    reach: dict[str, int]  # of metrics: where the other tables end, at least
    checksum: str  # with which the file was read


@dataclass(frozen=True)
class StoredTable:
    """All segments of a table as they were when it was opened, checksums compared.

    What becomes of the files later does not matter to it.
    """

    contents: tuple[tuple[Path, bytes], ...]  # the oldest first

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows, in order.

        Args:
            columns: Those to be read; all unless given.

        Raises:
            StoreError: A segment lacks a column, or is no table.
        """
        parts = []
        for path, content in self.contents:
            is_large = len(content) > _LARGE
            with reading(path), _parse(content) as file:
                parts.append(as_bytes(file.read(columns, use_threads=is_large)))
        return _join(parts)

    def dtype(self, column: str) -> np.dtype[Any]:
        """Of the numbers in a column."""
        path, content = self.contents[0]
        with reading(path), _parse(content) as file:
            return dtype_of(file.schema_arrow.field(column))


def open_table(folder: Path, table: str) -> StoredTable | None:
    """A table of a run; None if it has no rows.

    Raises:
        StoreError: A segment is missing, or damaged, which checksums show.
    """
    walk = list(walk_back(folder, table, list_files(folder)))
    if not walk:
        return None
    check_other_tables(folder, walk[0][0])
    return to_stored(walk)


def to_stored(walk: Sequence[tuple[Segment, bytes]]) -> StoredTable:
    """Of what `walk_back` gave."""
    return StoredTable(tuple((one.path, content) for one, content in walk[::-1]))


def append_segment(folder: Path, table: str, rows: pa.Table, last: int) -> bool:
    """Write rows that follow those already there, up to and with epoch `last`.

    Returns:
        Whether they are the whole table: there was no segment before.

    Raises:
        StoreError: They do not follow: another writer has been here.
    """
    before = last_epoch(folder, table)
    first = rows["epoch"][0].as_py()
    if first <= before:
        raise StoreError(
            f"{folder} has {table} up to epoch {before} already, and epoch {first} "
            "was to be appended: another writer has been at work; start the run again"
        )
    reach = _find_reach(folder) if table == "metrics" else {}
    _write(folder, table, [rows], after=before, last=last, reach=reach)
    return before == -1


def join_segments(folder: Path, table: str) -> None:
    """Make one segment of all; what a kill left off the chain is removed as well."""
    segments = list(find_segments(list_files(folder), table).values())
    if len(segments) == 1 and _is_whole(folder / segments[0]):
        return
    chain = _find_chain(folder, table)
    if len(chain) > 1:
        schemas = [pq.read_schema(one.path) for one in chain]
        parts = alike((_read(one.path) for one in chain), schemas)
        if table == "metrics":  # some may have come later than others
            parts = iter([_join(list(parts))])
        newest = chain[-1]
        _write(folder, table, parts, after=-1, last=newest.last, reach=newest.reach)
        sync(folder)
    _remove_all_but(folder, table, [last_epoch(folder, table)])


def write_compact(folder: Path, table: str, rows: pa.Table, last: int) -> None:
    """Write a whole table, up to and with epoch `last`, as small as it gets."""
    _write(
        folder,
        table,
        [rows],
        after=-1,
        last=last,
        reach=_find_reach(folder) if table == "metrics" else {},
        compression_level=_SMALLEST,
        use_dictionary=False,
    )


def check_reach(folder: Path, epoch: int) -> None:
    """Make sure that all tables are there up to an epoch with which a flush ended.

    Raises:
        StoreError: A segment is missing, or damaged.
    """
    for one in _find_chain(folder, "metrics")[::-1]:
        if one.last == epoch:
            check_other_tables(folder, one)
        if one.after < epoch <= one.last:
            return
    if epoch >= 0:
        check_exists(folder / _file_name("metrics", epoch))


def reseal(path: Path) -> None:
    """Replace a segment by itself, with a checksum."""
    content = read_bytes(path)
    with reading(path), _parse(content) as file:
        after = int(file.schema_arrow.metadata[_AFTER])
        rows = as_bytes(file.read())
    table, _, last = path.stem.partition("-")
    _write(path.parent, table, [rows], after=after, last=int(last), reach={})


def cut_segments(folder: Path, table: str, epoch: int) -> None:
    """Drop the rows of all later epochs.

    The newest goes first, so that a chain is left whenever this is interrupted.
    """
    chain = _find_chain(folder, table)
    kept = [one.last for one in chain if one.last <= epoch]
    straddling = [one for one in chain if one.after < epoch < one.last]
    for one in straddling:
        rows = narrowed(_read(one.path).filter(pc.field("epoch") <= epoch))
        reach = {other: min(end, epoch) for other, end in one.reach.items()}
        _write(folder, table, [rows], after=one.after, last=epoch, reach=reach)
        sync(folder)
    _remove_all_but(folder, table, kept + [epoch] * len(straddling))


def _is_whole(path: Path) -> bool:
    """Whether a segment begins where its table does."""
    with reading(path):
        return (pq.read_schema(path).metadata or {}).get(_AFTER) == b"-1"


def _join(parts: list[pa.Table]) -> pa.Table:
    """Rows of all; null where a part lacks a column."""
    parts = list(alike(parts, [part.schema for part in parts]))
    return pa.concat_tables(parts, promote_options="default")


def _find_reach(folder: Path) -> dict[str, int]:
    others = [table for table in TABLES if table != "metrics"]
    return {table: last_epoch(folder, table) for table in others}


def check_other_tables(folder: Path, newest: Segment) -> None:
    """Make sure that the other tables reach as far as this segment of metrics says.

    Raises:
        StoreError: A segment is missing.
    """
    for table, end in newest.reach.items():
        path = folder / _file_name(table, end)
        if end >= 0 and not path.exists() and last_epoch(folder, table) < end:
            check_exists(path)


def _find_chain(folder: Path, table: str) -> list[Segment]:
    walk = walk_back(folder, table, list_files(folder))
    return [segment for segment, _ in walk][::-1]


def walk_back(
    folder: Path, table: str, names: Iterable[str], known: Segment | None = None
) -> Iterator[tuple[Segment, bytes]]:
    """From the newest segment back along the chain, with the content of each.

    A file is opened once: by the next time a writer may have put a longer one there.

    Args:
        folder: Of a run.
        table: Whose segments.
        names: The files in the folder.
        known: Where the walk ends, if it comes there and the file is still the same.
    """
    segments = find_segments(names, table)
    last = max(segments, default=-1)
    while last != -1:
        path = folder / segments.get(last, _file_name(table, last))
        content, found = read_sealed(path)
        if known is not None and (path, found) == (known.path, known.checksum):
            yield known, content
            return
        with reading(path), _parse(content) as file:
            metadata = file.schema_arrow.metadata or {}
            if metadata.get(_OF, _name_table(path)) != _name_table(path):
                raise ValueError(f"it is of {metadata[_OF].decode()}")
            after = int(metadata.get(_AFTER, last))
            if not -1 <= after < last:
                raise ValueError("not a segment of this store")
            reach = json.loads(metadata.get(_REACH, b"{}"))
        yield Segment(path, after, last, reach, found), content
        last = after


def _parse(content: bytes) -> pq.ParquetFile:
    # checksums of pages: all there is in files of the first version of the format
    return pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)


def _read(path: Path) -> pa.Table:
    content = read_bytes(path)
    with reading(path), _parse(content) as file:
        return as_bytes(file.read())


def _name_table(path: Path) -> bytes:
    return f"{path.parent.name}/{path.stem.partition('-')[0]}".encode()


def _file_name(table: str, last: int) -> str:
    return f"{table}-{last:06d}.parquet"


def _write(
    folder: Path,
    table: str,
    parts: Iterable[pa.Table],
    *,
    after: int,
    last: int,
    reach: Mapping[str, int],
    **options: Any,
) -> None:
    path = folder / _file_name(table, last)
    groups = _regroup(parts, _GROUPS.get(table, _GROUP))
    first, second = next(groups), next(groups, None)
    metadata = {
        _AFTER: str(after).encode(),
        _OF: _name_table(path),
        b"birthmark_checksum": BLANK.encode(),
    }
    if reach:
        metadata[_REACH] = json.dumps(reach).encode()
    schema = pa.schema([bare(field) for field in first.schema], metadata)
    if second is None:  # the file is opened once
        sink = pa.BufferOutputStream()
        _write_groups(sink, [first], schema, options)
        replace_content(path, sealed(sink.getvalue().to_pybytes()))
    else:
        with sealing(path) as temporary:
            many = itertools.chain([first, second], groups)
            _write_groups(temporary, many, schema, options)


def _write_groups(
    target: Any, groups: Iterable[pa.Table], schema: pa.Schema, options: dict[str, Any]
) -> None:
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    with pq.ParquetWriter(
        target,
        schema,
        compression="zstd",
        write_statistics=False,  # nobody asks, and of bytes they say nothing
        **{"use_dictionary": texts, **options},  # numbers hardly come twice
    ) as writer:
        for rows in groups:
            writer.write_table(pa.table(rows.columns, schema=schema))


def _regroup(parts: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """The same rows in groups of one size, so that bytes depend on the rows alone."""
    waiting = None
    for part in parts:
        waiting = part if waiting is None else pa.concat_tables([waiting, part])
        while len(waiting) > size:
            yield waiting.slice(0, size).combine_chunks()
            waiting = waiting.slice(size)
    if waiting is not None:
        yield waiting.combine_chunks()


def _remove_all_but(folder: Path, table: str, kept: list[int]) -> None:
    segments = find_segments(list_files(folder), table)
    for last, name in sorted(segments.items(), reverse=True):
        if last not in kept:
            remove(folder / name)
