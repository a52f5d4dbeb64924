"""A store that is watched: runs are read again only when their folders change."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import xarray as xr

from birthmark.analysis import family_findings, look_at, read_survey
from birthmark.serve.curves import summarize_curves
from birthmark.serve.rows import (
    MEASURED,
    Row,
    begin_row,
    group_rows,
    judge_outcomes,
    read_outcomes,
    say_state,
    to_text,
)
from birthmark.store import FollowedRun, Leases, Store

_KEPT = 2**29  # bytes of records that stay in memory, besides those of one run


@dataclass
class _Followed:
    run: FollowedRun
    stamp: int  # of the folder whose content the records are
    records: xr.Dataset
    size: int  # bytes of these


class Watch:
    """The runs of a store as the page shows them, kept up to date by `refresh`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._rows: dict[str, Row] = {}
        self._leases = Leases()
        self._followed: OrderedDict[str, _Followed] = OrderedDict()
        self._findings: tuple[int, list[dict[str, Any]]] = (-1, [])
        self._listing = ("", "")  # of which version
        self._finding, self._reading = threading.Lock(), threading.Lock()
        self._started, self._changes = secrets.token_hex(4), 0
        self._numbers = itertools.count(1)  # of changes: no two threads get the same

    def refresh(self, budget_s: float = 0.25) -> list[str]:
        """Look what has changed, and read as much of it as the time allows.

        Returns:
            Keys of the runs that are shown in another way now.
        """
        stamps = self.store.stamps()
        changed = [key for key in self._rows if key not in stamps]
        for key in changed:
            del self._rows[key]
        for key, stamp in stamps.items():
            changed += [key] if self._note(key, stamp) else []
        waiting = [row for row in self._rows.values() if not row.is_read]
        waiting.sort(key=lambda row: row.read_at)
        changed += self._in_turn(read_outcomes, waiting, budget_s)
        return self._told(list(dict.fromkeys(changed)))

    def judge(self, budget_s: float = 0.25) -> list[str]:
        """Say anew what those are that have changed, as far as the time allows.

        This may go on beside `refresh`, in another thread: of a long run it takes long.

        Returns:
            As `refresh` does.
        """
        waiting = [row for row in list(self._rows.values()) if not row.is_judged]
        waiting.sort(key=lambda row: row.judged_at)
        before = {row.run_key: (row.alarms, row.verdict) for row in waiting}
        judged = self._in_turn(judge_outcomes, waiting, budget_s)
        now = {row.run_key: (row.alarms, row.verdict) for row in waiting}
        return self._told([key for key in judged if now[key] != before[key]])

    def _told(self, changed: list[str]) -> list[str]:
        """The same keys, with a version of their own if there are any."""
        if changed:
            self._changes = next(self._numbers)
        return changed

    def _in_turn(
        self,
        do: Callable[[Row, Callable[[str], xr.Dataset]], None],
        rows: list[Row],
        budget_s: float,
    ) -> list[str]:
        """The keys of those that there was time for: one at least."""
        end, done = time.monotonic() + budget_s, []
        for row in rows:
            do(row, self._read)
            done.append(row.run_key)
            if time.monotonic() > end:
                break
        return done

    def _note(self, key: str, stamp: int) -> bool:
        row = self._rows.get(key)
        if row is None:
            self._rows[key] = begin_row(self.store, key, stamp, self._leases)
            return True
        has_changed = row.stamp != stamp
        if has_changed:
            row.stamp, row.is_read = stamp, False
            if row.description is None:
                self._rows[key] = begin_row(self.store, key, stamp, self._leases)
                return True
        if row.state in ("done", "damaged") and not has_changed:
            return False
        before, row.state = row.state, say_state(self.store, key, self._leases)
        return has_changed or row.state != before

    @property
    def is_new(self) -> bool:
        """Whether there are runs of which nothing has been read, or judged."""
        rows = list(self._rows.values())
        return any(
            not (row.read_at and (row.is_judged or row.judged_at)) for row in rows
        )

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
            kept = self._followed.pop(key, None)
            if kept is None or kept.stamp != stamp:
                run = kept.run if kept else self.store.follow(key, MEASURED)
                records = run.records()
                kept = _Followed(run, stamp, records, records.nbytes)
            self._followed[key] = kept
            held = sum(one.size for one in self._followed.values())
            while held > _KEPT and len(self._followed) > 1:
                _, oldest = self._followed.popitem(last=False)
                held -= oldest.size
        return kept.records
