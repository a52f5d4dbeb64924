"""A table that is read while a writer goes on with it: what was read is kept."""

from __future__ import annotations

from collections.abc import Sequence, Set
from pathlib import Path

import numpy as np

from birthmark.shapes import Array
from birthmark.store.columns import to_array
from birthmark.store.files import reading
from birthmark.store.segments import (
    Segment,
    StoredTable,
    check_other_tables,
    to_stored,
    walk_back,
)


class OpenTable:
    """The rows of a table of a run, as far as they were read.

    A segment never changes while those after it stand. So a look reads from the newest
    back to the newest that it knows, which its checksum tells; and everything anew
    where that is no more, since a run was finished and its segments joined, or rewound.
    """

    def __init__(self, folder: Path, table: str, *, keeps_files: bool) -> None:
        self._folder, self._table, self._keeps_files = folder, table, keeps_files
        self._rooms: dict[str, Array] = {}
        self._count = 0
        self._newest: Segment | None = None
        self._names: set[str] = set()
        self._stored = StoredTable(())

    @property
    def stored(self) -> StoredTable:
        """The files of all rows, if they are kept: for columns that are read late."""
        return self._stored

    def look(
        self, names: Set[str], columns: Sequence[str] | None = None
    ) -> dict[str, Array]:
        """All rows by column, [rows, ...]; no columns if there are no rows.

        Args:
            names: The files in the folder.
            columns: Those to be read, the same at each look; all unless given.

        Raises:
            StoreError: A segment is missing, or damaged.
        """
        if not self._names <= names:
            self._forget()
        fresh, newest = [], self._newest
        unread = names - self._names | ({newest.path.name} if newest else set())
        for one, content in walk_back(self._folder, self._table, unread, newest):
            if one is newest:
                break
            fresh.append((one, content))
        else:
            self._forget()
        if fresh:
            self._take(fresh, columns)
        return {name: _seen(room, self._count) for name, room in self._rooms.items()}

    def _take(
        self, fresh: list[tuple[Segment, bytes]], columns: Sequence[str] | None
    ) -> None:
        if self._table == "metrics":
            check_other_tables(self._folder, fresh[0][0])
        stored = to_stored(fresh)
        rows = stored.read(columns)
        with reading(self._folder / self._table):
            new = {name: to_array(rows, name) for name in rows.column_names}
        end = self._count + len(rows)
        for name in dict.fromkeys([*self._rooms, *new]):
            room, added = self._rooms.get(name), new.get(name)
            self._rooms[name] = _extended(room, added, self._count, end)
        self._count, self._newest = end, fresh[0][0]
        self._names.update(one.path.name for one, _ in fresh)
        if self._keeps_files:
            self._stored = StoredTable(self._stored.contents + stored.contents)

    def _forget(self) -> None:
        self._rooms, self._count, self._newest = {}, 0, None
        self._names, self._stored = set(), StoredTable(())


def _seen(room: Array, count: int) -> Array:
    view = room[:count]
    view.flags.writeable = False
    return view


def _extended(room: Array | None, added: Array | None, count: int, end: int) -> Array:
    """Rows up to `count` and those added; NaN where a column was not, or is no more.

    What was given away of the old room stays as it is: rows are only written behind.
    """
    if room is None and count == 0 and added is not None:
        return added
    known = added if added is not None else room
    assert known is not None
    if added is None:
        added = np.full((end - count, *known.shape[1:]), np.nan)
    if room is None:
        room = np.full((count, *known.shape[1:]), np.nan)
    wide = np.result_type(room, added)
    if end > len(room) or wide != room.dtype:
        wider = np.empty((2 * end, *known.shape[1:]), wide)
        wider[:count] = room[:count]
        room = wider
    room[count:end] = added
    return room
