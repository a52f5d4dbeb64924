"""A store that is watched: runs are read again only when their folders change."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from typing import Any

import xarray as xr

from birthmark.analysis import family_findings, look_at, read_survey
from birthmark.serve.curves import summarize_curves
from birthmark.serve.rows import (
    Row,
    begin_row,
    group_rows,
    read_outcomes,
    say_state,
    to_text,
)
from birthmark.store import Store

_KEPT = 64  # runs whose records stay in memory


class Watch:
    """The runs of a store as the page shows them, kept up to date by `refresh`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._rows: dict[str, Row] = {}
        self._records: OrderedDict[str, tuple[int, xr.Dataset]] = OrderedDict()
        self._findings: tuple[int, list[dict[str, Any]]] = (-1, [])
        self._listing = ("", "")  # of which version
        self._finding, self._reading = threading.Lock(), threading.Lock()
        self._started, self._changes = secrets.token_hex(4), 0

    def refresh(self, budget_s: float = 0.15) -> list[str]:
        """Look what has changed, and read as much of it as the time allows.

        Returns:
            Keys of the runs that are shown in another way now.
        """
        end = time.monotonic() + budget_s
        stamps = self.store.stamps()
        changed = [key for key in self._rows if key not in stamps]
        for key in changed:
            del self._rows[key]
        for key, stamp in stamps.items():
            changed += [key] if self._note(key, stamp) else []
        waiting = [row for row in list(self._rows.values()) if not row.is_read]
        for row in sorted(waiting, key=lambda row: row.read_at):
            if time.monotonic() > end:
                break
            read_outcomes(row, self._read)
            changed.append(row.run_key)
        self._changes += bool(changed)
        return list(dict.fromkeys(changed))

    def _note(self, key: str, stamp: int) -> bool:
        row = self._rows.get(key)
        if row is None:
            self._rows[key] = begin_row(self.store, key, stamp)
            return True
        has_changed = row.stamp != stamp
        if has_changed:
            row.stamp, row.is_read = stamp, False
            if row.description is None:
                self._rows[key] = begin_row(self.store, key, stamp)
                return True
        if row.state in ("done", "damaged") and not has_changed:
            return False
        before, row.state = row.state, say_state(self.store, key)
        return has_changed or row.state != before

    @property
    def is_new(self) -> bool:
        """Whether there are runs whose records have not been read at all."""
        return any(not row.read_at for row in list(self._rows.values()))

    @property
    def version(self) -> str:
        """Another one when `rows` would be others."""
        return f"{self._started}-{self._changes}"

    def listing(self) -> str:
        """The store's name, its version and its rows, as the text of JSON."""
        kept, version = self._listing, self.version
        if kept[0] != version:
            name, groups = self.store.path.resolve().name, group_rows(self.rows())
            found = {"store": name, "version": version, "groups": groups}
            self._listing = kept = (version, to_text(found))
        return kept[1]

    def rows(self, keys: list[str] | None = None) -> list[dict[str, Any]]:
        """All runs, or these of them that are still there, as JSON."""
        wanted = list(self._rows) if keys is None else keys
        rows = [self._rows.get(key) for key in wanted]
        return [row.to_json() for row in rows if row is not None]

    def curves(self, key: str, names: list[str] | None = None) -> dict[str, Any]:
        """What was recorded of a run over its epochs or steps, as JSON.

        Raises:
            StoreError: There is no such run, or it cannot be read.
        """
        row = self._rows.get(key)
        # asked for before the first look round, it stands in no row yet
        described = row and row.description
        clock = (described or self.store.description(key)).clock
        return {"key": key} | summarize_curves(self._read(key), clock, names)

    def findings(self) -> list[dict[str, Any]]:
        """What the runs show in words; found again when a run has changed.

        Raises:
            StoreError: A run cannot be read.
        """
        stamp = max((row.stamp for row in list(self._rows.values())), default=0)
        with self._finding:
            if self._findings[0] != stamp:
                self._findings = (stamp, self._find())
            return self._findings[1]

    def _find(self) -> list[dict[str, Any]]:
        families = read_survey(self.store).families
        return [
            {
                "what": one.what,
                "why": one.why,
                "how": one.how,
                "source": one.source,
                "level": one.level,
                "about": look_at(family).title if len(families) > 1 else "",
                "runs": [run.run_key for run in family.runs],
            }
            for family in families
            for one in family_findings(family)
        ]

    def _read(self, key: str) -> xr.Dataset:
        row = self._rows.get(key)
        stamp = row.stamp if row else 0
        with self._reading:
            kept = self._records.pop(key, None)
            if kept is None or kept[0] != stamp:
                kept = (stamp, self.store.records(key, distributions=False))
            self._records[key] = kept
            while len(self._records) > _KEPT:
                self._records.popitem(last=False)
        return kept[1]
