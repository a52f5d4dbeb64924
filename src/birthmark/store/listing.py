"""Rows about runs, from names of files and small texts: no table is opened."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birthmark.errors import StoreError
from birthmark.store import files
from birthmark.store.claims import Leases, is_at_work
from birthmark.store.contents import check_done
from birthmark.store.description import SPEC, RunDescription, describe_spec
from birthmark.store.formats import read_version
from birthmark.store.layout import LEAST_RUNS, RunPaths, last_epoch, run_keys

if TYPE_CHECKING:
    from birthmark.spec import RunSpec

CHECKED_SINCE = 2  # version of the format in which files have checksums
COLUMNS = (
    *("run_key", "state", "epoch", "step", "wall_time_s", "written"),
    *("kind", "name", "replica", "problem"),
)


def list_runs(folder: Path) -> Sequence[Mapping[str, Any]] | None:
    """The rows of `Store.runs`, without pandas, in a tenth of the time.

    Of a large store they come from its index; specs of a small one are not looked
    through: their checksums stand for them. None where files have no checksums yet.

    Raises:
        StoreError: There is no store, or it is of a newer version.
    """
    if read_version(folder) < CHECKED_SINCE:
        return None
    keys = run_keys(folder)
    if len(keys) >= LEAST_RUNS:
        from birthmark.store.index import list_rows

        def look(key: str) -> dict[str, Any]:
            return look_at(RunPaths(folder / key), describe_run)

        return list_rows(folder, look)
    return [look_at(RunPaths(folder / key), _describe) for key in keys]


def look_at(
    paths: RunPaths, describe: Callable[[RunPaths], RunDescription]
) -> dict[str, Any]:
    """The row of a run; one that is damaged says what is wrong."""
    written = datetime.fromtimestamp(paths.folder.stat().st_mtime, UTC)
    row = dict.fromkeys(COLUMNS) | {"run_key": paths.folder.name, "written": written}
    try:
        last = last_epoch(paths.folder, "metrics")
        wall_time = read_manifest(paths).get("wall_time_s")
        what = describe(paths)
    except StoreError as error:
        return {**row, "state": "damaged", "problem": str(error)}
    row |= {"state": find_state(paths), "wall_time_s": wall_time}
    row |= {what.clock: None if last < 0 else last, "kind": what.kind}
    if what.kind != SPEC:
        alone = what.replicas[0] if len(what.replicas) == 1 else None
        row |= {"name": what.name, "replica": alone}
    return row | what.columns


def find_state(paths: RunPaths, leases: Leases | None = None) -> str:
    """How far a run is; who looks again and again keeps the leases that he saw."""
    if paths.done.exists():
        return "done"
    if leases.is_at_work(paths.claim) if leases else is_at_work(paths.claim):
        return "running"
    return "stopped" if paths.stopped.exists() else "unfinished"


def follows_no_spec(paths: RunPaths) -> bool:
    """Whether a run has a description, or had one before it was lost."""
    if paths.description.exists() or paths.start.exists():
        return True
    check_done(paths)
    return False


def read_manifest(paths: RunPaths) -> dict[str, Any]:
    """Where the numbers of a run come from; empty until its writer has said it."""
    check_done(paths)
    return files.read_json(paths.manifest) if paths.manifest.exists() else {}


def describe_run(paths: RunPaths) -> RunDescription:
    """Kind, name, fields and replicas of any run.

    Raises:
        StoreError: It is not the one of its name, or cannot be read.
    """
    if paths.spec.exists() or not follows_no_spec(paths):
        return describe_spec(read_spec(paths))
    return read_description(paths)


def read_spec(paths: RunPaths) -> RunSpec:
    """That of a run that follows one.

    Raises:
        StoreError: It is not the one of its name, or cannot be read.
    """
    content = files.read_bytes(paths.spec)
    with files.reading(paths.spec):
        spec = _parse_spec(content)
    if spec.run_key != paths.folder.name:
        raise files.DamageError(
            f"{paths.spec} was changed: its run key is {spec.run_key} now; "
            f"{files.advise(paths.spec)}"
        )
    return spec


@lru_cache(maxsize=16)
def _parse_spec(content: bytes) -> RunSpec:
    """Of the bytes of a file: who reads a run asks for its spec several times."""
    from birthmark.spec import RunSpec

    # not from_toml: an image is named as it was, and need not be there any more
    return RunSpec(**tomllib.loads(content.decode()))


def read_description(paths: RunPaths) -> RunDescription:
    """That of a run that follows no spec.

    Raises:
        StoreError: It is not the one of its name.
    """
    content = files.read_json(paths.description)
    with files.reading(paths.description):
        try:
            what = RunDescription.from_content(content)
        except StoreError as error:  # an older version may have taken it
            raise ValueError(str(error)) from error
    if what.run_key != paths.folder.name:
        raise files.DamageError(
            f"{paths.description} was changed: its run key is {what.run_key} now; "
            "restore it, or track the run again"
        )
    return what


def _describe(paths: RunPaths) -> RunDescription:
    if not paths.spec.exists() and follows_no_spec(paths):
        return read_description(paths)
    tables = files.read_toml(paths.spec)
    return RunDescription(SPEC, "", tables, spec_key=paths.folder.name)
