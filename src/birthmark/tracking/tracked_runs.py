"""A tracked run in its store: begun with its start, or gone on with, never mixed up."""

from __future__ import annotations

import logging
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from birthmark.errors import SpecError, StoreError, WeightsError
from birthmark.shapes import Parameters
from birthmark.store import RunDescription, RunFolder, Store, open_store
from birthmark.tracking.starts import Keep, Start, expect_start, take_start

KIND = "tracked"
_VERSION = 1  # of the state
_log = logging.getLogger("birthmark")


class TrackedRun:
    """Name, fields, replica and start of a run, and the folder of its records.

    Attributes:
        folder: Where records go, once the run has begun or gone on.
        start: The weights that it began with.
    """

    def __init__(
        self,
        store: str | Path | Store | None,
        *,
        name: str,
        fields: Mapping[str, Any],
        replica: int,
        keep: Keep,
        places: int,
        measured: Mapping[str, Any],
    ) -> None:
        """Open the store; without one, a folder that goes with this object.

        Raises:
            SpecError, StoreError: Something cannot be; nothing was written.
        """
        if keep == "file" and store is None:
            raise SpecError("keep='file' needs a store: say store='runs'")
        self._said = (name, dict(fields), replica)
        self._keep, self._places, self._measured = keep, places, dict(measured)
        self._describe("")  # refuses fields that cannot be columns
        self.is_lasting = store is not None
        if store is None:
            folder = tempfile.TemporaryDirectory(prefix="birthmark-")
            weakref.finalize(self, folder.cleanup)
            store = folder.name
        self.store = (
            store if isinstance(store, Store) else open_store(store, create=True)
        )
        self.start: Start | None = None
        self.folder: RunFolder | None = None

    @property
    def name(self) -> str:
        """Of the run."""
        return self._said[0]

    def take(self, parameters: Parameters) -> None:
        """Keep these weights as the start, unless there is one."""
        if self.start is None:
            self.start = take_start(parameters, self._keep, self._places)

    def begin(self) -> None:
        """Open the folder of a run with the start that was taken.

        Raises:
            StoreError: The store has this name with another start, or the run is done.
        """
        assert self.start is not None
        what = self._describe(self.start.fingerprint)
        known = self._keys()
        self._refuse_another_start(what, known)
        folder = self.store.start_run(what)
        with folder.closed_on_failure():
            self._begin_in(folder, what, is_again=what.run_key in known)

    def _begin_in(
        self, folder: RunFolder, what: RunDescription, *, is_again: bool
    ) -> None:
        assert self.start is not None
        if folder.is_done:
            raise StoreError(
                f"{self.name!r} is done in {self.store.path} ({what.run_key}): give "
                "another name, other fields or another replica=; to train it anew, "
                f"delete {self.store.path / what.run_key}"
            )
        if is_again:
            _log.warning(
                "%r (%s) is in %s already and begins again from step 0",
                *(self.name, what.run_key, self.store.path),
            )
        folder.rewind(-1)
        self.folder = folder
        if self._keeps_start:
            arrays = {n: t.cpu().numpy() for n, t in self.start.tensors().items()}
            folder.save_start(arrays, {"fingerprint": self.start.fingerprint})
        if self._keep == "file":
            self.start = self.start.holding(self._load(folder))

    def state_dict(self) -> dict[str, Any]:
        """Which run this is, and its start where no store keeps it."""
        assert self.start is not None
        name, _, replica = self._said
        return {
            "version": _VERSION,
            "name": name,
            "fields": self._describe("").content["fields"],
            "replica": replica,
            "fingerprint": self.start.fingerprint,
            "kept": self.start.kept_fingerprint,
            "units": dict(self.start.units),
            "norms": dict(self.start.norms),
            "start": None if self._keeps_start else self.start.tensors(),
        }

    def resume(
        self, state: Mapping[str, Any], parameters: Parameters, step: int
    ) -> None:
        """Open the folder of the run of a state, with its own start.

        A run that is done goes on too: training may be made longer, and a process may
        have been killed between the end of the run and its own.

        Args:
            state: From `state_dict`.
            parameters: Of the model now: names, shapes and devices count.
            step: Records of this one and of later ones are dropped.

        Raises:
            SpecError, StoreError, WeightsError: They do not belong together.
        """
        if state.get("version") != _VERSION:
            raise SpecError(
                f"the tracker's state is of version {state.get('version')}, not "
                f"{_VERSION}: go on with the birthmark that wrote it"
            )
        self._said = (state["name"], dict(state["fields"]), int(state["replica"]))
        expected = expect_start(parameters, self._keep, self._places)
        what = self._describe(state["fingerprint"])
        if state["start"] is None and what.run_key not in set(self._keys()):
            raise StoreError(
                f"{self.store.path} does not have {self.name!r} ({what.run_key}), with "
                "its start: say the store in which it was begun"
            )
        folder = self.store.start_run(what, reopen=True)
        with folder.closed_on_failure():
            tensors = state["start"] or self._load(folder)
            start = expected.restored(
                tensors, state["fingerprint"], state["units"], state["norms"]
            )
            if start.kept_fingerprint != state["kept"]:
                raise WeightsError(
                    f"the start kept for {self.name!r} is not the one that its "
                    f"training began with: restore {folder.paths.start}"
                )
            folder.rewind(step - 1)
        self.folder, self.start = folder, start

    @property
    def _keeps_start(self) -> bool:
        """Whether the store has the whole start, which no process has of shards."""
        assert self.start is not None
        return self.is_lasting and not self.start.is_sharded

    def _describe(self, fingerprint: str) -> RunDescription:
        name, fields, replica = self._said
        return RunDescription(
            KIND, name, fields, (replica,), fingerprint, self._measured
        )

    def _keys(self) -> list[str]:
        return [
            str(key) for key in self.store.runs(kind=KIND, name=self.name)["run_key"]
        ]

    def _refuse_another_start(self, what: RunDescription, known: list[str]) -> None:
        """A run goes on from its own start alone."""
        for key in known:
            other = self.store.description(key)
            same_fields = other.content["fields"] == what.content["fields"]
            if other.replicas != what.replicas or not same_fields:
                continue
            if key != what.run_key:
                raise StoreError(
                    f"{self.store.path} has {self.name!r} with another start ({key}): "
                    "to go on with it, give its state to tracker.load_state_dict() "
                    "before the first step; for another run give another name, other "
                    "fields or another replica=, or delete "
                    f"{self.store.path / key}"
                )

    def _load(self, folder: RunFolder) -> dict[str, Tensor]:
        if self._keep == "file":
            arrays = folder.map_start()
        else:
            arrays, _ = folder.load_start() or ({}, {})
        if not arrays:
            raise StoreError(
                f"{folder.paths.start} is missing: without the start nothing can be "
                "measured; restore it"
            )
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
