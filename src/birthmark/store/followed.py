"""The records of a run as users see them, once or while they grow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import xarray as xr

from birthmark.store.description import SPEC, RunDescription, flatten
from birthmark.store.layout import RunPaths
from birthmark.store.listing import find_state, read_manifest
from birthmark.store.records import RecordsReader
from birthmark.store.views import by_layer, by_parameter


class FollowedRun:
    """A run that may still be written; from `Store.follow`."""

    def __init__(
        self,
        paths: RunPaths,
        what: RunDescription,
        *,
        distributions: bool = False,
        names: Collection[str] | None = None,
        by: Literal["layer", "parameter"] = "layer",
    ) -> None:
        self._paths, self._what, self._by = paths, what, by
        self._reader = RecordsReader(
            paths, what, distributions=distributions, names=names
        )

    def records(self) -> xr.Dataset:
        """As `Store.records` gives them; read is what came since they were asked last.

        Raises:
            StoreError: A file is missing or damaged.
        """
        what = self._what
        facts = flatten(read_manifest(self._paths)) | what.columns
        view = by_layer if self._by == "layer" else by_parameter
        records = view(self._reader.read())
        if what.kind != SPEC:
            facts |= {"kind": what.kind, "name": what.name}
        own = {"run_key": what.run_key, "state": find_state(self._paths)}
        records.attrs = own | _known(facts)
        return records


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    listed = {k: list(v) if isinstance(v, tuple) else v for k, v in facts.items()}
    return {name: value for name, value in listed.items() if value is not None}
