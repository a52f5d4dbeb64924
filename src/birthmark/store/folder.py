"""The folder of one run, as its writer sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from birthmark.errors import StoreError
from birthmark.shapes import Array, EpochMetrics, StepMetrics, Weights
from birthmark.store import files
from birthmark.store.arrays import map_arrays, read_arrays, write_arrays
from birthmark.store.claims import Claim
from birthmark.store.contents import check_contents, write_contents
from birthmark.store.description import RunDescription
from birthmark.store.layout import RunPaths, last_epoch
from birthmark.store.schema import (
    Schema,
    copied,
    metrics_of_specs,
    metrics_rows,
    open_metrics_rows,
)
from birthmark.store.segments import (
    TABLES,
    append_segment,
    check_reach,
    cut_segments,
    join_segments,
)

MOST_WAITING = 2**27  # bytes of measurements, before they are written

if TYPE_CHECKING:
    import xarray as xr


class RunFolder:
    """Where one run is written, by one writer at a time; from `Store.start_run`.

    What is appended waits in memory until `flush`, `save_checkpoint` or `finish`, or
    until it is more than `MOST_WAITING`; what a kill leaves behind is put in order by
    `load_checkpoint` or `rewind`, with which each writer begins. A run without epochs
    gives its steps where epochs are asked for.
    The run is claimed by this object until `finish`, `stop` or `close`, or until the
    process ends.
    """

    def __init__(self, path: Path, what: RunDescription, claim: Claim) -> None:
        self.description = what
        self.paths = RunPaths(path)
        self._claim = claim
        self._waiting: dict[str, list[Any]] = {table: [] for table in TABLES}
        self._bytes_waiting = 0
        self._schema_is_written = True
        self._whole: set[str] = (
            set()
        )  # tables that one flush has written from the start

    @property
    def run_key(self) -> str:
        """The name of the folder."""
        return self.paths.folder.name

    @property
    def is_done(self) -> bool:
        """Whether the run was finished; then nothing in it changes any more."""
        return self.paths.done.exists()

    def append_metrics(self, metrics: EpochMetrics | StepMetrics) -> None:
        """Take the metrics of an epoch or of a step, each once and in order."""
        clock = self.description.clock
        number = metrics.epoch if isinstance(metrics, EpochMetrics) else metrics.step
        if number <= self._last_epoch:
            raise ValueError(
                f"{clock} {number} comes after {self._last_epoch}: load the "
                f"checkpoint before appending, and append each {clock} once"
            )
        if isinstance(metrics, StepMetrics):
            self._extend(self._schema.with_metrics(metrics.values))
        self._waiting["metrics"].append(copied(metrics))
        self._last_epoch = number

    def append_measurements(
        self,
        epoch: int,
        step: int,
        scalars: xr.Dataset | None,
        distributions: xr.Dataset | None = None,
    ) -> None:
        """Take what was measured at an epoch whose metrics have been appended.

        Args:
            epoch: Epochs finished, or the step once more.
            step: Optimizer steps made.
            scalars: Variables with dims (replica, layer[, ...]), or `parameter` in the
                place of `layer`; those without `replica` stay the same through the run
                and are taken once. None at an epoch where only distributions were
                measured.
            distributions: Likewise, at the epochs where they were measured.

        Raises:
            StoreError: A variable with which the run was begun is missing.
        """
        if epoch > self._last_epoch:
            raise ValueError(f"append the metrics of epoch {epoch} first")
        for table, dataset in (("layers", scalars), ("distributions", distributions)):
            if dataset is None:
                continue
            self._extend(self._schema.extended(table, dataset))
            taken = self._schema.take(table, epoch, step, dataset)
            self._waiting[table].append(taken)
            self._bytes_waiting += taken.num_bytes
        if self._bytes_waiting > MOST_WAITING:
            self.flush()

    def save_start(self, arrays: Mapping[str, Array], facts: Mapping[str, Any]) -> None:
        """Keep the initial configuration, once: what is there is never written over.

        Args:
            arrays: NumPy arrays by name.
            facts: What else there is to know of it, as JSON has it.
        """
        self._check_may_write()
        if not self.paths.start.exists():
            write_arrays(self.paths.start, arrays, facts)

    def load_start(self) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """The initial configuration that `save_start` has kept, and its facts."""
        exists = self.paths.start.exists()
        return read_arrays(self.paths.start) if exists else None

    def map_start(self) -> dict[str, Array]:
        """The arrays of the start, read from the disk where they are used."""
        return map_arrays(self.paths.start)

    def save_weights(self, epoch: int, weights: Weights) -> None:
        """Keep the weights of an epoch; arrays of NumPy, of all layers or of some."""
        self._check_may_write()
        arrays: dict[str, Any] = {}
        for name, layer in weights.items():
            arrays |= {f"{name}.w": layer.w, f"{name}.b": layer.b}
            if layer.scale is not None:
                arrays[f"{name}.scale"] = layer.scale
        facts = {"run": self.run_key, "epoch": epoch, "layers": list(weights)}
        write_arrays(self.paths.weights(epoch), arrays, facts)

    def save_checkpoint(
        self, arrays: Mapping[str, Array], facts: Mapping[str, Any]
    ) -> None:
        """Write the records that wait, then what is needed to go on from here.

        It never stands on a disk without what was written before it.

        Args:
            arrays: NumPy arrays by name.
            facts: Whatever else there is to know, as JSON has it.
        """
        self._write_waiting()
        files.sync(self.paths.folder)
        header = {
            "epoch": self._last_epoch,
            "weights": self.paths.weights_epochs(),
            "facts": dict(facts),
        }
        write_arrays(self.paths.checkpoint, arrays, header)
        files.sync(self.paths.folder)

    def load_checkpoint(self) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """Go back to the last checkpoint: drop what is newer, give what was saved.

        Without a checkpoint all records are dropped, and None is given.

        Raises:
            StoreError: The checkpoint, or records that it counts on, are damaged or
                missing.
        """
        epoch, saved = -1, None
        if self.paths.checkpoint.exists():
            epoch, saved = read_checkpoint(self.paths)
        self.rewind(epoch)
        return saved

    def rewind(self, epoch: int) -> None:
        """Drop the records of all later epochs, or steps; of all, for -1."""
        self._check_may_write()
        # the metrics first: without them no reader looks at the rest
        for table in reversed(TABLES):
            cut_segments(self.paths.folder, table, epoch)
        for newer in self.paths.weights_epochs():
            if newer > epoch:
                files.remove(self.paths.weights(newer))
        if epoch < 0:
            files.remove(self.paths.schema)
        self._forget()

    def load_manifest(self) -> dict[str, Any]:
        """The manifest that the writer before has left; empty if there was none."""
        path = self.paths.manifest
        return files.read_json(path) if path.exists() else {}

    def save_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest: where the numbers come from, as JSON has it.

        `wall_time_s` is listed by `Store.runs`; what is a number or a text becomes an
        attribute of the records.
        """
        self._check_may_write()
        files.write_json(self.paths.manifest, manifest)

    def stop(self) -> None:
        """Say that the writer leaves on purpose; `start_run` takes the word back."""
        self._check_may_write()
        files.write_mark(self.paths.stopped)
        files.sync(self.paths.folder)
        self.close()

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Write what waits, make one segment of many, and declare the run done."""
        self._write_waiting()
        for table in TABLES:
            if table not in self._whole:
                join_segments(self.paths.folder, table)
        self.save_manifest(manifest)
        self.seal()

    def seal(self) -> None:
        """Write down which files there are, and declare the run done."""
        files.sync(self.paths.folder)
        write_contents(self.paths)
        self._mark_done()
        self.put_in_order()

    def _mark_done(self) -> None:
        files.sync(self.paths.folder)
        files.remove(self.paths.checkpoint)  # nobody comes back to a run that is done
        files.write_mark(self.paths.done)
        files.sync(self.paths.folder)

    def reopen(self) -> None:
        """Let a run that was done go on, as a training that is made longer does."""
        # in this order: killed between, it is done again at its next start
        files.remove(self.paths.done)
        files.remove(self.paths.contents)

    def put_in_order(self) -> None:
        """Remove what writers have left that no reader needs.

        A run that had written down all its files was done, if they are there.
        """
        files.remove_temporary(self.paths.folder)
        files.remove(self.paths.stopped)
        if self.paths.contents.exists() and not self.is_done:
            check_contents(self.paths)
            self._mark_done()
        if self.is_done:
            files.remove(self.paths.checkpoint)
            self.close()

    def close(self) -> None:
        """Let other writers have the run; what was not saved is lost."""
        self._claim.release()

    @contextmanager
    def closed_on_failure(self) -> Iterator[None]:
        """Let other writers have the run where the block fails.

        Else they wait for as long as a traceback, which a notebook keeps, holds it.
        """
        try:
            yield
        except BaseException:
            self.close()
            raise

    @cached_property
    def _last_epoch(self) -> int:
        return max(last_epoch(self.paths.folder, table) for table in TABLES)

    @cached_property
    def _schema(self) -> Schema:
        exists = self.paths.schema.exists()
        if exists:
            return Schema.read(self.paths.schema)
        is_of_spec = self.description.clock == "epoch"
        return Schema(metrics=metrics_of_specs() if is_of_spec else {})

    def _extend(self, schema: Schema) -> None:
        if schema is not self._schema:
            self._schema, self._schema_is_written = schema, False

    def _forget(self) -> None:
        self._waiting = {table: [] for table in TABLES}
        self._bytes_waiting = 0
        for cached in ("_last_epoch", "_schema"):
            self.__dict__.pop(cached, None)
        self._schema_is_written = True

    def flush(self) -> None:
        """Write the records that wait, so that they last."""
        self._write_waiting()
        files.sync(self.paths.folder)

    def _write_waiting(self) -> None:
        self._check_may_write()
        if not self._schema_is_written:
            self._schema.write(self.paths.schema)
            self._schema_is_written = True
        for table, waiting in self._waiting.items():
            if waiting:
                if table == "metrics":  # an epoch counts with them
                    files.sync(self.paths.folder)
                rows = self._to_rows(table, waiting)
                last = self._last_epoch
                is_whole = append_segment(self.paths.folder, table, rows, last)
                (self._whole.add if is_whole else self._whole.discard)(table)
                self._waiting[table] = []
        self._bytes_waiting = 0

    def _to_rows(self, table: str, waiting: list[Any]) -> pa.Table:
        if table != "metrics":
            return self._schema.to_rows(table, waiting)
        if isinstance(waiting[0], EpochMetrics):
            return metrics_rows(waiting)
        count = len(self.description.replicas)
        return open_metrics_rows(waiting, self._schema.metrics, count)

    def _check_may_write(self) -> None:
        if self.is_done:
            raise StoreError(
                f"run {self.run_key} is done and stays as it is: "
                "delete its folder to run it again"
            )
        self._claim.check()


def read_checkpoint(
    paths: RunPaths,
) -> tuple[int, tuple[dict[str, Array], dict[str, Any]]]:
    """Epochs finished at a checkpoint, and what was saved.

    Raises:
        StoreError: It is damaged, or records that it counts on are missing.
    """
    arrays, header = read_arrays(paths.checkpoint)
    with files.reading(paths.checkpoint):
        epoch, facts = int(header["epoch"]), dict(header["facts"])
        kept = [paths.weights(kept) for kept in header.get("weights", [])]
    check_reach(paths.folder, epoch)
    for path in kept:
        files.check_exists(path)
    return epoch, (arrays, facts)
