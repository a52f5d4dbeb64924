"""Records as lines of JSON, for whatever reads logs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from birthmark.shapes import Finding
from birthmark.store import RunDescription


class JsonLinesSink:
    """Appends an object a line: `{"step": 8, "distance/head.weight": 0.13, ...}`.

    The first line of each start has the key `run`, an alert the key `alert`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def begin(self, run: RunDescription) -> None:
        """See `Sink`."""
        self._write({"run": run.run_key, "name": run.name, **run.fields})

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `Sink`."""
        self._write({"step": step, **values})

    def arrays(self, step: int, measured: xr.Dataset) -> None:
        """See `Sink`; arrays are left to the store."""

    def alert(self, step: int, finding: Finding) -> None:
        """See `Sink`."""
        self._write({"step": step, "alert": finding.what, "level": finding.level})

    def finish(self) -> None:
        """See `Sink`."""

    def _write(self, line: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")
