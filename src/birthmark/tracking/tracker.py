"""The tracker: how far a model moves, watched from inside of a user's own loop.

    tracker = bm.Tracker(model, optimizer, store="runs", name="my run")
    ...                                # the loop as it was; tracker.log(loss=loss)
    print(tracker.summary())

It hangs on the optimizer, which calls it after each step that is really made, and on no
module. It draws no random numbers and writes to no tensor of the model.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
import xarray as xr

from birthmark.errors import SpecError
from birthmark.shapes import Finding, Parameters, StepMetrics
from birthmark.store import RunFolder, Store
from birthmark.tracking.hooks import Hooks, close_at_exit
from birthmark.tracking.path_lengths import PathLengths
from birthmark.tracking.pending import Pending
from birthmark.tracking.probes import Evaluate
from birthmark.tracking.processes import Processes
from birthmark.tracking.readers import (
    Model,
    Optimizers,
    as_names,
    find_optimizers,
    make_reader,
)
from birthmark.tracking.recorder import Recorder
from birthmark.tracking.samples import Sample
from birthmark.tracking.schedules import Schedule, make_schedule
from birthmark.tracking.selections import ATTRIBUTION, LIGHT, SIGNALS
from birthmark.tracking.sinks import Alert, Sink, Telling
from birthmark.tracking.starts import KEEPS, Keep, Start
from birthmark.tracking.summary import Summary, summarize
from birthmark.tracking.tracked_runs import TrackedRun
from birthmark.tracking.watching import Watch

PLACES = 2**15  # of a large tensor, of the path and of a sampled start
FLUSH_SECONDS = 10.0  # of records that a kill may cost, if recorded steps are as near
_MOST_ROWS = 1000  # that wait in memory


class Tracker:
    """Keeps the start of a model and measures what has become of it, step by step.

    Attributes:
        num_steps: Optimizer steps made.
    """

    def __init__(
        self,
        model: Model,
        optimizer: Optimizers | None = None,
        *,
        store: str | Path | Store | None = None,
        name: str | None = None,
        fields: Mapping[str, Any] | None = None,
        replica: int | None = None,
        schedule: str | int | Collection[int] | Schedule = "log",
        tensors: str | Collection[str] | None = None,
        measurements: str | Collection[str] = LIGHT,
        keep: Keep = "device",
        places: int = PLACES,
        probe: Evaluate | None = None,
        sinks: Iterable[Sink | Alert] = (),
    ) -> None:
        """Hang on the optimizer; the start is taken right before its first step.

        Args:
            model: A module; or a function that gives the weights as a mapping of arrays
                whenever it is called (JAX, Keras), and then `step` is yours to call.
            optimizer: Whose steps count; of several, those of the last. Without one the
                start is taken here, and `step` is yours to call after each step.
            store: Folder of a store, made when it is missing; None keeps records only
                as long as the tracker lives.
            name: Of the run; the class of the model unless given.
            fields: What runs differ in, as plain values: columns, axes and groups of
                all that compares runs.
            replica: A number that tells runs of the same name and fields apart that
                differ in their seed alone.
            schedule: `log` records steps 0, 1, 2, 4, 8 and two an octave from there; a
                number adds each step that it divides; a list says all steps; or what
                has a method `due`.
            tensors: Patterns (`blocks.*.weight`) of the names to look at; all unless
                given.
            measurements: Names from the table; `all` for all that is no distribution
                and need not be asked for.
            keep: Where the start is: on the `device`, on the `cpu`, in the store's
                `file`, mapped into memory, or as a `sample`.
            places: Coordinates of each larger tensor from which a sampled start, and
                the path length of any, are estimated.
            probe: A loss of the model on a batch that stays the same. With it recorded
                steps say how sharp the loss is along the step (`critical_sharpness`)
                and what the moved weights do to what goes through each layer; that
                takes up to eleven evaluations and two copies of the model.
            sinks: Who is told of all that is recorded (`birthmark.tracking.Sink`), or
                functions of a step and a `Finding`, told of what asks for attention.

        Raises:
            SpecError, StoreError: Before anything is touched.
        """
        if keep not in KEEPS:
            raise SpecError(f"keep is one of {', '.join(KEEPS)}, not {keep!r}")
        self._read = make_reader(model, tensors)
        optimizers = find_optimizers(optimizer)
        self._processes = Processes(model, self._read)
        if not self._processes.speaks:
            store, sinks = None, ()
        self._schedule = make_schedule(schedule)
        self._only = None if measurements == "all" else as_names(measurements)
        if probe is not None and self._only is not None:
            self._only = (*self._only, *SIGNALS)
        self._places = places
        self._run = TrackedRun(
            store,
            name=type(model).__name__ if name is None else name,
            fields=fields or {},
            replica=replica or 0,
            keep=keep,
            places=places,
            measured={"schedule": str(self._schedule), "keep": keep},
        )
        self.num_steps = 0
        self._recorder: Recorder | None = None
        self._pending, self._flushed = Pending(), time.monotonic()
        self._telling = Telling(self._run.name, sinks)
        self._watch = Watch(
            model,
            optimizers,
            attribute=not {*ATTRIBUTION}.isdisjoint(self._only or ()),
            probe=probe,
            is_sampled=keep == "sample",
        )
        self._is_over = False
        if self._processes.is_idle:
            optimizers = []
        elif not optimizers:
            self._run.take(self._read())
        # hooks hold this object: the loop need not keep it
        self._hooks = Hooks(optimizers, self._before_step, self.step)
        if not self._processes.is_idle:
            close_at_exit(self)

    def begin(self) -> None:
        """Take the start as the weights are now, unless it was taken before.

        The first step of the optimizer, or of `step`, calls it.

        Raises:
            StoreError: The store has a run of this name, these fields and this replica
                that began with other weights, or one that is done.
        """
        if self._recorder is None and not self._processes.is_idle:
            self._run.take(self._read())
            self._processes.agree(self._run.begin)
            self._start_watching()
            self._record()

    def step(self) -> None:
        """Count one step that was made, and measure if that is due.

        An optimizer calls it; without one call it after each step.
        """
        self.begin()
        self.num_steps += 1
        self._watch.count()
        if (
            self._recorder is not None
            and self._schedule.due(self.num_steps) is not None
        ):
            self._record()

    def log(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Note numbers at the present step, under any names; `epoch` is a coordinate.

        Tensors stay where they are until the next record, so that no GPU waits.

        Raises:
            SpecError: A value is no single number.
        """
        if self._processes.is_idle:
            return
        self._pending.note(self.num_steps, {**(values or {}), **named})
        if len(self._pending) > _MOST_ROWS:
            self._hand_on(before=self.num_steps)

    @property
    def run_key(self) -> str:
        """Name of the run in its store, once the start is taken."""
        return self._begun().run_key

    @property
    def records(self) -> xr.Dataset:
        """All that was recorded so far; dims `step`, `replica`, `parameter`, ...

        What is noted later belongs to the next step.
        """
        key = self._begun().run_key
        self.flush()
        return self._run.store.records(key, by="parameter")

    def findings(self) -> tuple[Finding, ...]:
        """What asks for attention: tensors that stand still now, and alarms so far."""
        return self._found(self._look())

    def summary(self) -> Summary:
        """Where the weights stand now, in words and in the rows that matter."""
        found = self._look()
        folder = self._write_before(self.num_steps)
        records = self._run.store.records(folder.run_key, by="parameter")
        findings = self._found(found)
        return summarize(found, self.num_steps, self._run.name, findings, records)

    def flush(self) -> None:
        """Write what was recorded; what is noted later belongs to the next step."""
        if self._processes.is_idle:
            return
        self._write_before(self.num_steps + 1)

    def finish(self) -> None:
        """Record the last step, declare the run done, and let go of the optimizer."""
        if self._processes.is_idle:
            return
        folder = self._begun()
        if folder.is_done:
            return
        if (
            self._schedule.due(self.num_steps) is None
            and self.num_steps > self._pending.taken
        ):
            self._record(is_last=True)
        self._hand_on(before=self.num_steps + 1)
        self._hooks.remove()
        self._is_over = True
        folder.finish(
            {"versions": {"torch": torch.__version__}, "steps": self.num_steps}
        )
        self._telling.finish()

    def close(self) -> None:
        """Write what there is and let go; the run may be gone on with."""
        self._hooks.remove()
        if self._recorder is not None and not self._is_over:
            self._is_over = True
            folder = self._begun()
            with folder.closed_on_failure():
                self.flush()
                folder.stop()

    def __enter__(self) -> Self:
        """As a context it ends with `finish`, or on an error with `close`."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish, or after an error leave the run to be gone on with."""
        if kind is None and self._recorder is not None:
            self.finish()
        else:
            self.close()

    def __del__(self) -> None:
        """Write what there is, where a loop has ended without a word."""
        with contextlib.suppress(Exception):
            self.close()

    def state_dict(self) -> dict[str, Any]:
        """What goes into the user's checkpoint: plain values and tensors.

        The start itself is in it only where no store keeps it, and where it is sharded:
        then each process has a state of its own.
        """
        if self._processes.is_idle:
            return {}
        self._write_before(self.num_steps)
        return {
            "step": self.num_steps,
            "pending": self._pending.state_dict(),
            "run": self._run.state_dict(),
            "path": {n: t.clone() for n, t in self._path.state_dict().items()},
            **self._watch.state_dict(),
            "alarms": self._telling.alarms.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`, with the true start; before the first step.

        Records of later steps, made before the kill, are dropped: they come again.

        Raises:
            WeightsError: The state is of another model, or the kept start is not the
                one that the run began with.
            StoreError: The store does not have the run.
            SpecError: Steps were made already, or the state is of another version.
        """
        if self._processes.is_idle:
            return
        if self._recorder is not None:
            raise SpecError(
                "load_state_dict comes before the first step: load the tracker's state "
                "where the model's and the optimizer's are loaded"
            )
        step = int(state["step"])
        now = self._read()
        self._processes.agree(lambda: self._run.resume(state["run"], now, step))
        self.num_steps = step
        self._start_watching()
        self._path.load_state_dict(state["path"])
        self._watch.load_state_dict(state)
        self._telling.alarms.load_state_dict(state["alarms"])
        self._pending.load_state_dict(state["pending"])

    def _before_step(self) -> None:
        self.begin()
        if self._recorder is not None:
            is_recorded = self._schedule.due(self.num_steps + 1) is not None
            self._watch.before(is_recorded=is_recorded)

    def _start_watching(self) -> None:
        folder, start = self._run.folder, self._start
        assert folder is not None
        sample = Sample(start.whole, self._places)
        device = next(iter(self._read().values())).values.device
        self._path = PathLengths(start.sampled(sample, device), sample)
        self._recorder = Recorder(
            folder,
            start.parameters,
            self._schedule,
            {"only": self._only},
            path=self._path,
            view=start,
        )
        self._watch.begin(start.whole)
        self._telling.begin(folder.description)

    def _record(self, *, is_last: bool = False) -> None:
        assert self._recorder is not None
        self._hand_on(before=self.num_steps)
        current = self._current() if self.num_steps else self._start.parameters
        facts, numbers = self._watch.recorded(self.num_steps, self._start)
        if numbers:
            self._pending.note(self.num_steps, numbers)
        found = self._recorder.measure(
            self.num_steps,
            current,
            is_start=self.num_steps == 0,
            instead="scalars" if is_last else None,
            **facts,
        )
        self._pending.measured(self.num_steps, found)
        if found is not None:
            news = self._watch.news(self.num_steps, found)
            speaks = self._processes.speaks
            self._telling.measured(self.num_steps, found, news, is_logged=speaks)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._begun().flush()
            self._flushed = time.monotonic()

    @property
    def _start(self) -> Start:
        assert self._run.start is not None
        return self._run.start

    def _current(self) -> Parameters:
        return self._watch.current(self.num_steps, self._read())

    def _look(self) -> xr.Dataset:
        """The weights as they are now, measured and not recorded."""
        self._begun()
        assert self._recorder is not None
        return self._recorder.look(
            self._current(), "scalars", only=LIGHT, **self._watch.facts()
        )

    def _found(self, found: xr.Dataset) -> tuple[Finding, ...]:
        seen = self._watch.findings(self.num_steps, found)
        return (*seen, *self._telling.alarms.findings)

    def _write_before(self, step: int) -> RunFolder:
        """Write all rows of earlier steps; a later one is open to what a loop notes."""
        folder = self._begun()
        if not folder.is_done:
            self._hand_on(before=step)
            folder.flush()
        return folder

    def _hand_on(self, *, before: int) -> None:
        """Give the recorder all rows of steps before this one."""
        if self._recorder is None:
            return
        for step, noted, found in self._pending.take(before):
            epoch = noted.pop("epoch", None)
            values = {name: np.array([value]) for name, value in noted.items()}
            whole = None if epoch is None else int(epoch)
            self._recorder.store(StepMetrics(step, values, whole), found)
            self._telling.noted(step, noted)

    def _begun(self) -> RunFolder:
        self._processes.check_busy()
        if self._recorder is None and self._hooks:
            raise SpecError(
                "no step was made yet: the start is taken right before the first, or "
                "by tracker.begin()"
            )
        self.begin()
        assert self._run.folder is not None
        return self._run.folder
