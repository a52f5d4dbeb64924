"""Tables of records as immutable Parquet segments.

`layers-000040.parquet` ends at epoch 40 and says in its metadata after which epoch it
begins: the end of the segment before it, -1 for the first. Read from the newest back,
the segments form a chain; a segment off the chain has been replaced by a longer one and
is only waiting to be removed. So several segments become one by a single rename, and a
reader sees each row once at every moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from birthmark.errors import StoreError
from birthmark.store.files import reading, remove, replacing

# in the order in which a flush writes them: an epoch counts when its metrics are there
TABLES = ("layers", "distributions", "metrics")

_AFTER = b"birthmark_after_epoch"
_SMALLEST = 19  # level of zstd
Content = TypeVar("Content")


@dataclass(frozen=True)
class Segment:
    """A file of rows from the epoch after `after` up to `last`."""

    path: Path
    after: int
    last: int


def last_epoch(folder: Path, table: str) -> int:
    """The epoch at which the newest segment ends; -1 if there is none."""
    return max(_find_paths(folder, table), default=-1)


def read_segments(folder: Path, table: str) -> pa.Table | None:
    """All rows of a table, in order; None if there are none.

    Raises:
        StoreError: A segment is missing, or damaged, which checksums show.
    """
    parts = [rows for _, rows in _walk_back(folder, table, pq.ParquetFile.read)]
    return _join(parts[::-1]) if parts else None


def append_segment(folder: Path, table: str, rows: pa.Table, last: int) -> None:
    """Write rows that follow those already there, up to and with epoch `last`."""
    before = [epoch for epoch in _find_paths(folder, table) if epoch < last]
    _write(folder, table, [rows], after=max(before, default=-1), last=last)


def join_segments(folder: Path, table: str) -> None:
    """Make one segment of all; what a kill left off the chain is removed as well."""
    chain = _find_chain(folder, table)
    if len(chain) > 1:
        parts: Iterable[pa.Table] = (_read(one.path) for one in chain)
        if table == "metrics":  # some may have come later than others
            parts = [_join(list(parts))]
        _write(folder, table, parts, after=-1, last=chain[-1].last)
    _remove_all_but(folder, table, [last_epoch(folder, table)])


def write_compact(folder: Path, table: str, rows: pa.Table, last: int) -> None:
    """Write a whole table, up to and with epoch `last`, as small as it gets."""
    _write(
        folder,
        table,
        [rows],
        after=-1,
        last=last,
        compression_level=_SMALLEST,
        use_dictionary=False,
    )


def cut_segments(folder: Path, table: str, epoch: int) -> None:
    """Drop the rows of all later epochs.

    The newest goes first, so that a chain is left whenever this is interrupted.
    """
    chain = _find_chain(folder, table)
    kept = [one.last for one in chain if one.last <= epoch]
    straddling = [one for one in chain if one.after < epoch < one.last]
    for one in straddling:
        rows = _read(one.path).filter(pc.field("epoch") <= epoch)
        _write(folder, table, [rows], after=one.after, last=epoch)
    _remove_all_but(folder, table, kept + [epoch] * len(straddling))


def _join(parts: list[pa.Table]) -> pa.Table:
    """Rows of all; null where a part lacks a column."""
    return pa.concat_tables(parts, promote_options="default")


def _find_paths(folder: Path, table: str) -> dict[int, Path]:
    try:
        paths = sorted(folder.glob(f"{table}-*.parquet"))
        return {int(path.stem.removeprefix(f"{table}-")): path for path in paths}
    except (OSError, ValueError) as error:
        message = f"{folder} holds a {table} file with a name not of this store"
        raise StoreError(f"{message}: {error}") from error


def _find_chain(folder: Path, table: str) -> list[Segment]:
    walk = _walk_back(folder, table, lambda file: None)
    return [segment for segment, _ in walk][::-1]


def _walk_back(
    folder: Path, table: str, look: Callable[[pq.ParquetFile], Content]
) -> Iterator[tuple[Segment, Content]]:
    """From the newest segment back along the chain, with what is seen in each.

    A file is opened once: by the next time a writer may have put a longer one there.
    """
    paths = _find_paths(folder, table)
    last = max(paths, default=-1)
    while last != -1:
        path = paths.get(last, folder / _file_name(table, last))
        with reading(path), _open(path) as file:
            metadata = file.schema_arrow.metadata or {}
            after = int(metadata.get(_AFTER, last))
            if not -1 <= after < last:
                raise ValueError("not a segment of this store")
            content = look(file)
        yield Segment(path, after, last), content
        last = after


def _open(path: Path) -> pq.ParquetFile:
    return pq.ParquetFile(path, page_checksum_verification=True)


def _read(path: Path) -> pa.Table:
    with reading(path), _open(path) as file:
        return file.read()


def _file_name(table: str, last: int) -> str:
    return f"{table}-{last:06d}.parquet"


def _write(
    folder: Path,
    table: str,
    parts: Iterable[pa.Table],
    *,
    after: int,
    last: int,
    **options: Any,
) -> None:
    path = folder / _file_name(table, last)
    parts = iter(parts)
    first = next(parts)
    schema = first.schema.with_metadata({_AFTER: str(after).encode()})
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            write_page_checksum=True,
            **options,
        ) as writer,
    ):
        writer.write_table(first.cast(schema))
        for rows in parts:
            writer.write_table(rows.cast(schema))


def _remove_all_but(folder: Path, table: str, kept: list[int]) -> None:
    for last, path in sorted(_find_paths(folder, table).items(), reverse=True):
        if last not in kept:
            remove(path)
