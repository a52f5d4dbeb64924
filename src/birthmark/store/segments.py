"""Tables of records as immutable Parquet segments.

`layers-000040.parquet` ends at epoch 40 and says in its metadata after which epoch it
begins: the end of the segment before it, -1 for the first. Read from the newest back,
the segments form a chain; a segment off the chain has been replaced by a longer one and
is only waiting to be removed. So several segments become one by a single rename, and a
reader sees each row once at every moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from birthmark.errors import StoreError
from birthmark.store.files import reading, remove, replacing

# in the order in which a flush writes them: an epoch counts when its metrics are there
TABLES = ("layers", "distributions", "metrics")

_AFTER = b"birthmark_after_epoch"


@dataclass(frozen=True)
class Segment:
    """A file of rows from the epoch after `after` up to `last`."""

    path: Path
    after: int
    last: int

    def read(self, up_to: int | None = None) -> pa.Table:
        """Its rows, or those up to an epoch; damage is seen by checksum."""
        with reading(self.path):
            with pq.ParquetFile(self.path, page_checksum_verification=True) as file:
                rows = file.read()
            if up_to is None or up_to >= self.last:
                return rows
            return rows.filter(pc.field("epoch") <= up_to)


def last_epoch(folder: Path, table: str) -> int:
    """The epoch at which the newest segment ends; -1 if there is none."""
    return max(_find_paths(folder, table), default=-1)


def find_chain(folder: Path, table: str) -> list[Segment]:
    """The segments that together hold each row of a table once, oldest first.

    Raises:
        StoreError: One is missing or damaged.
    """
    paths = _find_paths(folder, table)
    chain: list[Segment] = []
    last = max(paths, default=-1)
    while last != -1:
        if last not in paths:
            end = f"{table}-{last:06d}.parquet"
            raise StoreError(
                f"{folder}: the segment {end} is missing, on which "
                f"{chain[-1].path.name} counts: delete the folder and run it again"
            )
        chain.append(Segment(paths[last], _read_after(paths[last], last), last))
        last = chain[-1].after
    return chain[::-1]


def append_segment(folder: Path, table: str, rows: pa.Table, last: int) -> None:
    """Write rows that follow those already there, up to and with epoch `last`."""
    before = [epoch for epoch in _find_paths(folder, table) if epoch < last]
    _write(folder, table, [rows], after=max(before, default=-1), last=last)


def join_segments(folder: Path, table: str) -> None:
    """Make one segment of all; what a kill left off the chain is removed as well."""
    chain = find_chain(folder, table)
    if len(chain) > 1:
        last = chain[-1].last
        _write(folder, table, (one.read() for one in chain), after=-1, last=last)
    _remove_all_but(folder, table, [last_epoch(folder, table)])


def cut_segments(folder: Path, table: str, epoch: int) -> None:
    """Drop the rows of all later epochs.

    The newest goes first, so that a chain is left whenever this is interrupted.
    """
    chain = find_chain(folder, table)
    kept = [one.last for one in chain if one.last <= epoch]
    straddling = [one for one in chain if one.after < epoch < one.last]
    for one in straddling:
        rows = one.read(up_to=epoch)
        _write(folder, table, [rows], after=one.after, last=epoch)
    _remove_all_but(folder, table, kept + [epoch] * len(straddling))


def _find_paths(folder: Path, table: str) -> dict[int, Path]:
    try:
        paths = sorted(folder.glob(f"{table}-*.parquet"))
        return {int(path.stem.removeprefix(f"{table}-")): path for path in paths}
    except (OSError, ValueError) as error:
        message = f"{folder} holds a {table} file with a name not of this store"
        raise StoreError(f"{message}: {error}") from error


def _read_after(path: Path, last: int) -> int:
    with reading(path):
        metadata = pq.read_schema(path).metadata or {}
        after = int(metadata.get(_AFTER, last))
        if not -1 <= after < last:
            raise ValueError("not a segment of this store")
        return after


def _write(
    folder: Path, table: str, parts: Iterable[pa.Table], *, after: int, last: int
) -> None:
    path = folder / f"{table}-{last:06d}.parquet"
    parts = iter(parts)
    first = next(parts)
    schema = first.schema.with_metadata({_AFTER: str(after).encode()})
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(
            temporary, schema, compression="zstd", write_page_checksum=True
        ) as writer,
    ):
        writer.write_table(first.cast(schema))
        for rows in parts:
            writer.write_table(rows.cast(schema))


def _remove_all_but(folder: Path, table: str, kept: list[int]) -> None:
    for last, path in sorted(_find_paths(folder, table).items(), reverse=True):
        if last not in kept:
            remove(path)
