"""A store: a folder of runs, each in a folder named by its key."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from birthmark.errors import StoreError
from birthmark.shapes import Layer, Weights
from birthmark.spec import RunSpec
from birthmark.store import files
from birthmark.store.arrays import read_arrays
from birthmark.store.claims import Claim, Leases
from birthmark.store.contents import check_done
from birthmark.store.description import RunDescription, describe_spec
from birthmark.store.folder import RunFolder
from birthmark.store.followed import FollowedRun
from birthmark.store.formats import (
    FORMAT_VERSION,
    describe_store,
    migrate,
    read_version,
)
from birthmark.store.index import list_rows, read_rows, to_frame
from birthmark.store.layout import (
    LEAST_RUNS,
    STORE_FILE,
    RunPaths,
    holds_run,
    is_run_key,
    run_keys,
)
from birthmark.store.listing import (
    COLUMNS,
    describe_run,
    find_state,
    look_at,
    read_manifest,
    read_spec,
)
from birthmark.store.named_arrays import Records
from birthmark.store.query import query, select

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def open_store(path: str | Path, *, create: bool = False) -> Store:
    """Open the store in a folder.

    Args:
        path: The folder.
        create: For writers: make an empty store if there is none, and bring one of an
            older version of the format to the present one, which reads it once.

    Raises:
        StoreError: There is no store, it is of a newer version, or it cannot be made.
    """
    folder = Path(path)
    if create and not files.is_there(folder / STORE_FILE):
        _check_text(folder)
        files.refuse_place_of_run(folder / STORE_FILE)
        files.make_folder(folder)
        _make_store(folder)
    if read_version(folder) < FORMAT_VERSION and create:
        migrate(folder)
    return Store(folder)


def _make_store(folder: Path) -> None:
    try:
        describe_store(folder)
    except StoreError:
        if not files.is_there(folder / STORE_FILE):  # else another was quicker
            raise
    files.remove_leftovers(folder / STORE_FILE)


def _describe(paths: RunPaths, what: RunSpec | RunDescription) -> None:
    if isinstance(what, RunSpec):
        files.write_toml(paths.spec, what.to_toml())
    else:
        files.write_json(paths.description, what.content)


def _check_text(folder: Path) -> None:
    """Refuse a name whose bytes are no text: what writes tables cannot open it."""
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise StoreError(
            f"the name of the folder {str(folder)!r} is no text in UTF-8: name another"
        ) from None


class Store:
    """Runs that are stored in one folder; from `open_store`.

    Wherever a run key is asked for, its first digits are enough if no other begins so.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"<birthmark store {str(self.path)!r}, {len(self._keys())} runs>"

    def start_run(
        self, what: RunSpec | RunDescription, *, reopen: bool = False
    ) -> RunFolder:
        """The folder to write a run to, made unless it is there, and claimed.

        Args:
            what: Of the run.
            reopen: Whether a run that is done may be written on.

        Raises:
            ClaimedError: Another writer is at work on this run.
            StoreError: It cannot be written, or its spec was changed.
        """
        described = describe_spec(what) if isinstance(what, RunSpec) else what
        paths = RunPaths(self.path / described.run_key)
        files.make_folder(paths.folder)
        run = RunFolder(paths.folder, described, Claim.take(paths.claim))
        with run.closed_on_failure():
            if paths.is_described:
                self.description(described.run_key)
            elif run.is_done:
                is_spec = isinstance(what, RunSpec)
                files.check_exists(paths.spec if is_spec else paths.description)
            else:
                _describe(paths, what)
                files.sync(self.path)
            if reopen:
                run.reopen()
            run.put_in_order()
        return run

    def is_done(self, run_key: str) -> bool:
        """Whether the run with this whole key is there and finished."""
        return RunPaths(self.path / run_key).done.exists()

    def stamps(self) -> dict[str, int]:
        """By run key, when its folder last changed, in ns: cheap, for who watches."""
        return {key: (self.path / key).stat().st_mtime_ns for key in self._keys()}

    def state(self, run_key: str, leases: Leases | None = None) -> str:
        """How far the run with this key is, as `runs` says it.

        Args:
            run_key: Of the run.
            leases: Of who looks again and again: a writer on another machine whose
                count of signs of life stands still is not at work any more.
        """
        return find_state(self._find(run_key), leases)

    def runs(self, **filters: Any) -> pd.DataFrame:
        """A table of the runs, one row a run.

        Its columns are `run_key`; `state` (`done`; `running`: being written now;
        `stopped`: left on purpose, to go on when started again; `unfinished`: killed;
        `damaged`, with what is wrong under `problem`);
        `epoch`, up to which there are records, or `step` of a run without epochs;
        `wall_time_s` as the manifest has it; `written`, the time of the last change;
        `kind` (`spec`, `tracked`, ...), `name` and `replica`, of runs that follow no
        spec; and each field of a run under its dotted name (`training.lr`).

        Args:
            filters: Values that columns must equal, by the name of the column or its
                last part where that is unique: `runs(lr=0.1, widths=[256, 256])`.

        Raises:
            StoreError: A filter names no column, or several.
        """
        table = select(read_rows(self.path, self._look_at), filters, _NO_ROW)
        frame = to_frame(table)
        columns = [*_NO_ROW, *(name for name in frame if name not in _NO_ROW)]
        return frame.reindex(columns=columns)

    def rows(self) -> list[dict[str, Any]]:
        """What `runs` gives, without pandas: None where a run has no such field."""
        keys = self._keys()
        few = len(keys) < LEAST_RUNS
        rows = map(self._look_at, keys) if few else list_rows(self.path, self._look_at)
        return [{**_NO_ROW, **row} for row in rows]

    def sql(self, question: str) -> pd.DataFrame:
        """What DuckDB answers about the table of runs, which it knows as `runs`.

        Columns are those of `runs()`: `select "training.lr", count(*) from runs ...`.

        Raises:
            MissingDependencyError: DuckDB is not installed.
            StoreError: DuckDB does not understand the question.
        """
        return query(read_rows(self.path, self._look_at), question)

    def description(self, run_key: str) -> RunDescription:
        """Kind, name, fields and replicas of any run.

        Raises:
            StoreError: There is no such run, or it is not the one of its name.
        """
        return describe_run(self._find(run_key))

    def spec(self, run_key: str) -> RunSpec:
        """The spec of a run that follows one.

        Raises:
            StoreError: There is no such run, it has no spec, or one of another name.
        """
        paths = self._find(run_key)
        if paths.description.exists():
            kind = self.description(run_key).kind
            raise StoreError(
                f"run {paths.folder.name} is {kind} and follows no spec: "
                "description() has its fields"
            )
        return read_spec(paths)

    def manifest(self, run_key: str) -> dict[str, Any]:
        """Where the numbers of a run come from; empty until its writer has said it."""
        return read_manifest(self._find(run_key))

    def records(
        self,
        run_key: str,
        *,
        distributions: bool = True,
        by: Literal["layer", "parameter"] = "layer",
    ) -> xr.Dataset:
        """The records of a run, finished or not, up to its last flush.

        Dims and names are those of "Records" in `docs/internals.md`. The attributes are
        the run key, the state, and the fields of the spec and of the manifest under
        their dotted names. Before its first flush a run has no steps.

        Args:
            run_key: Of the run.
            distributions: Also what has a bin axis, nearly all of the memory.
            by: Whether tensors stand in the dim `layer`, with those of biases under
                `bias_*`, or in the dim `parameter` (see `by_parameter`).

        Raises:
            StoreError: There is no such run, or a file of it is missing or damaged.
        """
        what = self.description(run_key)
        paths = RunPaths(self.path / what.run_key)
        run = FollowedRun(paths, what, distributions=distributions, by=by)
        return run.records()

    def arrays(self, run_key: str, *, distributions: bool = True) -> Records:
        """What `records` gives, as plain arrays: for who reads thousands of runs.

        They have the dims with which they are stored, `layer` or `parameter`.

        Raises:
            StoreError: There is no such run, or a file of it is missing or damaged.
        """
        what = self.description(run_key)
        paths = RunPaths(self.path / what.run_key)
        run = FollowedRun(paths, what, distributions=distributions)
        return run.arrays()

    def follow(self, run_key: str, names: Collection[str] | None = None) -> FollowedRun:
        """A run that is looked at again and again while it is written.

        Its `records()` are those of the store by layer, without what has a bin axis; a
        look costs what was written since the last.

        Args:
            run_key: Of the run.
            names: Of the measurements wanted; all unless given. Metrics always come.

        Raises:
            StoreError: There is no such run, or it is not the one of its name.
        """
        what = self.description(run_key)
        return FollowedRun(RunPaths(self.path / what.run_key), what, names=names)

    def weights_epochs(self, run_key: str) -> list[int]:
        """The epochs whose weights were kept."""
        paths = self._find(run_key)
        check_done(paths)
        return paths.weights_epochs()

    def weights(self, run_key: str, epoch: int) -> Weights:
        """The weights of all replicas at an epoch, as NumPy arrays.

        Raises:
            StoreError: They were not kept, or the file is damaged.
        """
        paths = self._find(run_key)
        check_done(paths)
        epochs = paths.weights_epochs()
        if epoch not in epochs:
            kept = f"of epochs {', '.join(map(str, epochs))}" if epochs else "of none"
            raise StoreError(
                f"run {paths.folder.name} has no weights of epoch {epoch}, but {kept}: "
                "name the epochs to keep in record.weights"
            )
        path = paths.weights(epoch)
        tensors, facts = read_arrays(path)
        with files.reading(path):
            if (facts.get("run", paths.folder.name), facts["epoch"]) != (
                paths.folder.name,
                epoch,
            ):
                raise ValueError("it is of another run or epoch")
            return Weights(
                {
                    n: Layer(
                        tensors[f"{n}.w"], tensors[f"{n}.b"], tensors.get(f"{n}.scale")
                    )
                    for n in facts["layers"]
                }
            )

    def _look_at(self, run_key: str) -> dict[str, Any]:
        paths = RunPaths(self.path / run_key)
        return look_at(paths, describe_run)

    def _keys(self) -> list[str]:
        return run_keys(self.path)

    def _find(self, run_key: str) -> RunPaths:
        if is_run_key(run_key) and holds_run(self.path / run_key):
            return RunPaths(self.path / run_key)  # without looking at all the others
        keys = self._keys()
        found = [key for key in keys if key.startswith(run_key)]
        if len(found) == 1:
            return RunPaths(self.path / found[0])
        if found:
            raise StoreError(f"run {run_key!r} could be {' or '.join(found)}")
        near = difflib.get_close_matches(run_key, keys, n=1, cutoff=0.0)
        hint = (
            f"the nearest of {len(keys)} is {near[0]!r}" if near else "it has no runs"
        )
        raise StoreError(f"no run {run_key!r} in {self.path}: {hint}")


_NO_ROW: dict[str, Any] = {
    **dict.fromkeys(COLUMNS),
    **dict.fromkeys(describe_spec(RunSpec(data={"name": "none"})).columns),
}
