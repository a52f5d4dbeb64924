"""The folder of one run, as its writer sees it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import xarray as xr

from birthmark.errors import StoreError
from birthmark.shapes import Array, EpochMetrics, StepMetrics, Weights
from birthmark.store import files
from birthmark.store.description import RunDescription
from birthmark.store.layout import RunPaths
from birthmark.store.schema import (
    Schema,
    metrics_of_specs,
    metrics_rows,
    open_metrics_rows,
)
from birthmark.store.segments import (
    TABLES,
    append_segment,
    cut_segments,
    join_segments,
    last_epoch,
)


class RunFolder:
    """Where one run is written, by one writer at a time; from `Store.start_run`.

    What is appended waits in memory until `flush`, `save_checkpoint` or `finish`; what
    a kill leaves behind is put in order by `load_checkpoint` or `rewind`, with which
    each writer begins. A run without epochs gives its steps where epochs are asked for.
    """

    def __init__(self, path: Path, what: RunDescription) -> None:
        self.description = what
        self.paths = RunPaths(path)
        self._waiting: dict[str, list[pa.Table]] = {table: [] for table in TABLES}
        self._schema_is_written = True

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
        if isinstance(metrics, EpochMetrics):
            rows = metrics_rows(metrics)
        else:
            self._extend(self._schema.with_metrics(metrics.values))
            known, count = self._schema.metrics, len(self.description.replicas)
            rows = open_metrics_rows(metrics, known, count)
        self._waiting["metrics"].append(rows)
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
            StoreError: The variables are not those that the run was begun with.
        """
        if epoch > self._last_epoch:
            raise ValueError(f"append the metrics of epoch {epoch} first")
        for table, dataset in (("layers", scalars), ("distributions", distributions)):
            if dataset is None:
                continue
            self._extend(self._schema.extended(table, dataset))
            rows = self._schema.to_rows(table, epoch, step, dataset)
            self._waiting[table].append(rows)

    def save_start(self, arrays: Mapping[str, Array], facts: Mapping[str, Any]) -> None:
        """Keep the initial configuration, once: what is there is never written over.

        Args:
            arrays: NumPy arrays by name.
            facts: What else there is to know of it, as JSON has it.
        """
        self._refuse_if_done()
        if not self.paths.start.exists():
            files.write_arrays(self.paths.start, arrays, facts)

    def load_start(self) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """The initial configuration that `save_start` has kept, and its facts."""
        exists = self.paths.start.exists()
        return files.read_arrays(self.paths.start) if exists else None

    def save_weights(self, epoch: int, weights: Weights) -> None:
        """Keep the weights of an epoch; arrays of NumPy, of all layers or of some."""
        self._refuse_if_done()
        arrays: dict[str, Any] = {}
        for name, layer in weights.items():
            arrays |= {f"{name}.w": layer.w, f"{name}.b": layer.b}
            if layer.scale is not None:
                arrays[f"{name}.scale"] = layer.scale
        facts = {"epoch": epoch, "layers": list(weights)}
        files.write_arrays(self.paths.weights(epoch), arrays, facts)

    def save_checkpoint(
        self, arrays: Mapping[str, Array], facts: Mapping[str, Any]
    ) -> None:
        """Write the records that wait, then what is needed to go on from here.

        Args:
            arrays: NumPy arrays by name.
            facts: Whatever else there is to know, as JSON has it.
        """
        self.flush()
        header = {"epoch": self._last_epoch, "facts": dict(facts)}
        files.write_arrays(self.paths.checkpoint, arrays, header)

    def load_checkpoint(self) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """Go back to the last checkpoint: drop what is newer, give what was saved.

        Without a checkpoint all records are dropped, and None is given.
        """
        self._refuse_if_done()
        saved = None
        epoch = -1
        if self.paths.checkpoint.exists():
            arrays, header = files.read_arrays(self.paths.checkpoint)
            with files.reading(self.paths.checkpoint):
                epoch, saved = int(header["epoch"]), (arrays, dict(header["facts"]))
        self.rewind(epoch)
        return saved

    def rewind(self, epoch: int) -> None:
        """Drop the records of all later epochs, or steps; of all, for -1."""
        self._refuse_if_done()
        # the metrics first: without them no reader looks at the rest
        for table in reversed(TABLES):
            cut_segments(self.paths.folder, table, epoch)
        for newer in self.paths.weights_epochs():
            if newer > epoch:
                files.remove(self.paths.weights(newer))
        if epoch < 0:
            files.remove(self.paths.schema)
        self._forget()

    def save_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest: where the numbers come from, as JSON has it.

        `wall_time_s` is listed by `Store.runs`; what is a number or a text becomes an
        attribute of the records.
        """
        self._refuse_if_done()
        files.write_json(self.paths.manifest, dict(manifest))

    def stop(self) -> None:
        """Say that the writer leaves on purpose; `start_run` takes the word back."""
        self._refuse_if_done()
        files.write_text(self.paths.stopped, "")

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Write what waits, make one segment of many, and declare the run done."""
        self._refuse_if_done()
        self.flush()
        for table in TABLES:
            join_segments(self.paths.folder, table)
        self.save_manifest(manifest)
        files.write_text(self.paths.done, "")
        self.remove_leftovers()

    def remove_leftovers(self) -> None:
        """Remove what writers have left that no reader needs."""
        files.remove_temporary(self.paths.folder)
        files.remove(self.paths.stopped)
        if self.is_done:
            files.remove(self.paths.checkpoint)

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
        for cached in ("_last_epoch", "_schema"):
            self.__dict__.pop(cached, None)
        self._schema_is_written = True

    def flush(self) -> None:
        """Write the records that wait."""
        self._refuse_if_done()
        if not self._schema_is_written:
            self._schema.write(self.paths.schema)
            self._schema_is_written = True
        for table, rows in self._waiting.items():
            if rows:
                # metrics that came later are null before
                whole = pa.concat_tables(rows, promote_options="default")
                append_segment(self.paths.folder, table, whole, self._last_epoch)
        self._waiting = {table: [] for table in TABLES}

    def _refuse_if_done(self) -> None:
        if self.is_done:
            raise StoreError(
                f"run {self.run_key} is done and stays as it is: "
                "delete its folder to run it again"
            )
