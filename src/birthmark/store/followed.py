"""The records of a run as users see them, once or while they grow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal

from birthmark.store.description import SPEC, RunDescription, flatten
from birthmark.store.layout import RunPaths
from birthmark.store.listing import find_state, read_manifest
from birthmark.store.named_arrays import Records
from birthmark.store.records import RecordsReader

if TYPE_CHECKING:
    import xarray as xr


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
        self._paths, self._by = paths, by
        self._fields = {"run_key": what.run_key, **_known(what.columns)}
        if what.kind != SPEC:
            self._fields |= {"kind": what.kind, "name": what.name}
        self._reader = RecordsReader(
            paths, what, distributions=distributions, names=names
        )

    def records(self) -> xr.Dataset:
        """As `Store.records` gives them; read is what came since they were asked last.

        Raises:
            StoreError: A file is missing or damaged.
        """
        from birthmark.store.views import by_layer, by_parameter

        view = by_layer if self._by == "layer" else by_parameter
        return view(self.arrays().to_dataset())

    def arrays(self) -> Records:
        """The same as plain arrays, with the dims with which they are stored.

        Raises:
            StoreError: A file is missing or damaged.
        """
        facts = _known(flatten(read_manifest(self._paths)))
        records = self._reader.read()
        facts |= {"state": find_state(self._paths)} | self._fields
        records.attrs.update(facts)
        return records


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    listed = {k: list(v) if isinstance(v, tuple) else v for k, v in facts.items()}
    return {name: value for name, value in listed.items() if value is not None}
