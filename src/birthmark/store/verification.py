"""Reading all files of a store, to find those that are damaged or lost."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from birthmark.errors import StoreError
from birthmark.spec import RunSpec
from birthmark.store import files
from birthmark.store.arrays import read_arrays
from birthmark.store.claims import Claim
from birthmark.store.contents import check_contents
from birthmark.store.folder import read_checkpoint
from birthmark.store.layout import RunPaths, run_keys
from birthmark.store.runs import Store


@dataclass(frozen=True)
class Damage:
    """A run that cannot be trusted any more."""

    run_key: str
    spec: RunSpec | None  # None: lost as well; what names the run makes it again
    problem: str  # the file, and what is wrong with it


def verify_store(store: Store) -> list[Damage]:
    """Read every file of every run; the runs that are damaged, in order of their keys.

    Raises:
        StoreError: A file cannot be read at present: no permission, no memory.
    """
    found = []
    for key in run_keys(store.path):
        try:
            _verify(store, key)
        except files.DamageError as error:
            spec = None
            with contextlib.suppress(StoreError):
                spec = store.spec(key)
            found.append(Damage(key, spec, str(error)))
    return found


def clear_run(store: Store, run_key: str) -> None:
    """Remove all files of a run, the mark of completion first.

    Raises:
        ClaimedError: A writer is at work on it.
        StoreError: A file cannot be removed.
    """
    paths = RunPaths(store.path / run_key)
    claim = Claim.take(paths.claim)
    try:
        others = [path for path in paths.folder.iterdir() if path != paths.claim]
        for path in sorted(others, key=lambda path: path != paths.done):
            files.remove(path)
    finally:
        claim.release()


def _verify(store: Store, key: str) -> None:
    paths = RunPaths(store.path / key)
    store.description(key)
    if paths.done.exists():
        check_contents(paths)
    store.records(key)
    if not paths.done.exists():
        if paths.checkpoint.exists():
            read_checkpoint(paths)
        kept = [paths.start] if paths.start.exists() else []
        for path in kept + [paths.weights(epoch) for epoch in paths.weights_epochs()]:
            read_arrays(path)
