"""The tracker: how far a model moves, watched from inside of a user's own loop.

    tracker = bm.Tracker(model, optimizer, store="runs", name="my run")
    ...                                # the loop as it was; tracker.log(loss=loss)
    print(tracker.summary())

It hangs on the optimizer, which calls it after each step that is really made, and on no
module. It draws no random numbers and writes to no tensor of the model.
"""

from __future__ import annotations

import atexit
import logging
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from birthmark.errors import SpecError, StoreError, WeightsError
from birthmark.measurements import fingerprint, to_parameters
from birthmark.shapes import Finding, Parameters, StepMetrics
from birthmark.store import RunDescription, RunFolder, Store, open_store
from birthmark.tracking.observations import Observations
from birthmark.tracking.paths import PathLengths
from birthmark.tracking.pending import Pending
from birthmark.tracking.recorder import Recorder
from birthmark.tracking.samples import Sample
from birthmark.tracking.schedules import Schedule, make_schedule
from birthmark.tracking.sinks import Sink, name_scalars
from birthmark.tracking.starts import Keep, Start, expect_start, take_start
from birthmark.tracking.summary import Summary, summarize

KIND = "tracked"
# what each recorded step measures unless said: what no sorting is needed for
LIGHT = (
    "deviation_mean",
    "deviation_std",
    "deviation_skewness",
    "deviation_kurtosis",
    "deviation_mean_abs",
    "deviation_max",
    "distance",
    "relative_distance",
    "correlation",
    "cosine",
    "slope",
    "sign_flips",
    "path_length",
    "nonfinite_count",
)
PLACES = 2**17  # of a large tensor, of the path and of a sampled start
_FLUSH_ROWS = 1000
_VERSION = 1  # of the state
_log = logging.getLogger("birthmark")

Model = nn.Module | Callable[[], Any]


class Tracker:
    """Keeps the start of a model and measures what has become of it, step by step.

    Attributes:
        step: Optimizer steps made.
    """

    def __init__(
        self,
        model: Model,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None = None,
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
        sinks: Iterable[Sink] = (),
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
            measurements: Names from the table; `all` for everything, distributions and
                spectra included, at each recorded step.
            keep: Where the start is: on the `device`, on the `cpu`, in the store's
                `file`, mapped into memory when it is read, or as a `sample`.
            places: Coordinates of each larger tensor from which a sampled start, and
                the path length of any, are estimated.
            sinks: Who is told of all that is recorded (`birthmark.tracking.Sink`).

        Raises:
            SpecError, StoreError: Before anything is touched.
        """
        self._read = _reader(model, tensors)
        self._model = model if isinstance(model, nn.Module) else None
        self._optimizers = _as_list(optimizer)
        self._name = name if name is not None else type(model).__name__
        self._fields, self._replica = dict(fields or {}), replica or 0
        self._schedule = make_schedule(schedule)
        self._only = None if measurements == "all" else tuple(measurements)
        self._keep, self._places = keep, places
        self._sinks = list(sinks)
        if keep == "file" and store is None:
            raise SpecError("keep='file' needs a store: say store='runs'")
        self._describe("")  # refuses fields that cannot be columns
        self._store = _open(self, store)
        self._is_lasting = store is not None
        self.step = 0
        self._start: Start | None = None
        self._run: RunFolder | None = None
        self._recorder: Recorder | None = None
        self._pending = Pending()
        self._seen = Observations(self._model, self._optimizers)
        self._hooks = [
            one.register_step_pre_hook(lambda *_: self.begin())
            for one in self._optimizers[:1]
        ] + [
            one.register_step_post_hook(lambda *_: self.advance())
            for one in self._optimizers[-1:]
        ]
        if not self._optimizers:
            self._start = take_start(self._read(), keep, places)
        _leave_at_exit(self)

    def begin(self) -> None:
        """Take the start as the weights are now, unless it was taken before.

        An optimizer's first step calls it.

        Raises:
            StoreError: The store has a run of this name, these fields and this replica
                that began with other weights, or one that is done.
        """
        if self._recorder is not None:
            return
        if self._start is None:
            self._start = take_start(self._read(), self._keep, self._places)
        what = self._describe(self._start.fingerprint)
        self._refuse_another_start(what)
        self._run = self._store.start_run(what)
        if self._run.is_done:
            raise StoreError(
                f"{self._name!r} is done in {self._store.path} ({what.run_key}): give "
                "another name, other fields or another replica="
            )
        self._run.rewind(-1)
        self._keep_start(self._run)
        self._watch(self._run)
        self._record()

    def advance(self) -> None:
        """Count one step that was made, and measure if that is due.

        An optimizer calls it; without one call it after each step.
        """
        self.begin()
        self.step += 1
        if self._schedule.due(self.step) is not None:
            self._record()

    def log(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Note numbers at the present step, under any names; `epoch` is a coordinate.

        Tensors stay where they are until the next record, so that no GPU waits.
        """
        self._pending.note(self.step, {**(values or {}), **named})
        if len(self._pending) > _FLUSH_ROWS:
            self._hand_on(before=self.step)

    @property
    def run_key(self) -> str:
        """Name of the run in its store, once the start is taken."""
        return self._begun().run_key

    @property
    def records(self) -> xr.Dataset:
        """All that was recorded so far; dims `step`, `replica`, `parameter`, ..."""
        run = self._begun()
        self.flush()
        return self._store.records(run.run_key, by="parameter")

    def findings(self) -> tuple[Finding, ...]:
        """What asks for attention now: tensors that do not move, or are not finite."""
        self._begun()
        return self._seen.findings(self._look())

    def summary(self) -> Summary:
        """Where the weights stand now, in words and in the rows that matter."""
        self._begun()
        assert self._start is not None
        found = self._look()
        return summarize(found, self.step, self._name, self._seen.findings(found))

    def flush(self) -> None:
        """Write what was recorded; what is noted later belongs to the next step."""
        if self._run is not None:
            self._hand_on(before=self.step + 1)
            self._run.flush()

    def finish(self) -> None:
        """Declare the run done, and let go of the optimizer."""
        run = self._begun()
        self._hand_on(before=self.step + 1)
        self.detach()
        run.finish({"torch": torch.__version__, "steps": self.step})
        for sink in self._sinks:
            self._tell(sink.finish)

    def detach(self) -> None:
        """Let go of the optimizer; the run may be gone on with."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def __enter__(self) -> Self:
        """As a context it ends with `finish`, or on an error with what there was."""
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
            self._leave()

    def state_dict(self) -> dict[str, Any]:
        """What goes into the user's checkpoint, plain values and tensors.

        The start itself is in it only where there is no store that keeps it.
        """
        run, start = self._begun(), self._start
        assert self._recorder is not None and start is not None
        self.flush()
        return {
            "version": _VERSION,
            "step": self.step,
            "name": self._name,
            "fields": dict(run.description.content["fields"]),
            "replica": self._replica,
            "run_key": run.run_key,
            "fingerprint": start.fingerprint,
            "units": dict(start.units),
            "kept": fingerprint(start.parameters),
            "start": None if self._is_lasting else start.tensors(),
            "path": self._path.state_dict(),
            "seen": self._seen.state_dict(),
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
        if self._recorder is not None:
            raise SpecError(
                "load_state_dict comes before the first step: load the tracker's state "
                "where the model's and the optimizer's are loaded"
            )
        if state.get("version") != _VERSION:
            raise SpecError(
                f"the tracker's state is of version {state.get('version')}, not "
                f"{_VERSION}: go on with the birthmark that wrote it"
            )
        self._name, self._fields = state["name"], dict(state["fields"])
        self._replica, self.step = int(state["replica"]), int(state["step"])
        start = expect_start(self._read(), self._keep, self._places)
        self._run = self._store.start_run(self._describe(state["fingerprint"]))
        kept = state["start"] or self._load_start(self._run)
        _check_names(start, kept)
        self._start = start = start.restored(kept, state["fingerprint"], state["units"])
        if fingerprint(start.parameters) != state["kept"]:
            raise WeightsError(
                f"the start kept for {self._name!r} is not the one that its training "
                "began with: restore start.safetensors of the run"
            )
        if not state["start"] and self._keep != "file":
            pass
        self._run.rewind(self.step)
        self._watch(self._run)
        self._path.load_state_dict(state["path"])
        self._seen.load_state_dict(state["seen"])

    def _record(self) -> None:
        assert self._recorder is not None
        self._hand_on(before=self.step)
        current = self._read()
        current = self._seen.take_in(self.step, current, self._reference())
        found = self._recorder.measure(self.step, current, is_start=self.step == 0)
        self._pending.measured(self.step, found)
        if found is not None:
            self._tell_measured(found)

    def _look(self) -> xr.Dataset:
        """The weights as they are now, measured and not recorded."""
        assert self._recorder is not None
        current = self._seen.take_in(self.step, self._read(), self._reference())
        return self._recorder.look(current, "scalars")

    def _reference(self) -> Parameters:
        assert self._start is not None
        return self._start.whole

    def _hand_on(self, *, before: int) -> None:
        """Give the recorder all rows of steps before this one."""
        if self._recorder is None:
            return
        for step, noted, found in self._pending.take(before):
            epoch = noted.pop("epoch", None)
            values = {name: np.array([value]) for name, value in noted.items()}
            whole = None if epoch is None or epoch != epoch else int(epoch)
            self._recorder.store(StepMetrics(step, values, whole), found)
            for sink in self._sinks:
                if noted:
                    self._tell(sink.scalars, step, noted)

    def _tell_measured(self, found: xr.Dataset) -> None:
        if not self._sinks:
            return
        named = name_scalars(found)
        arrays = found[[n for n, v in found.items() if len(v.dims) > 2]]
        findings = self._seen.news(found)
        for sink in self._sinks:
            self._tell(sink.scalars, self.step, named)
            if arrays.data_vars:
                self._tell(sink.arrays, self.step, arrays)
            for finding in findings:
                self._tell(sink.alert, self.step, finding)

    def _tell(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            function(*arguments)
        except Exception as error:
            _log.warning("a sink of %r failed: %s", self._name, error)

    def _describe(self, start: str) -> RunDescription:
        measured = {
            "schedule": str(self._schedule),
            "measurements": list(self._only or ["all"]),
            "keep": self._keep,
        }
        return RunDescription(
            KIND, self._name, self._fields, (self._replica,), start, measured
        )

    def _refuse_another_start(self, what: RunDescription) -> None:
        """A run goes on from its own start alone."""
        table = self._store.runs(kind=KIND, name=self._name)
        for key in table["run_key"]:
            other = self._store.description(str(key))
            same = other.content["fields"] == what.content["fields"]
            if other.replicas != what.replicas or not same:
                continue
            if other.run_key == what.run_key:
                _log.warning(
                    "%r (%s) is in %s already and begins again from step 0",
                    *(self._name, key, self._store.path),
                )
                continue
            raise StoreError(
                f"{self._store.path} has {self._name!r} with another start ({key}): to "
                "go on with it, give its state to tracker.load_state_dict() before the "
                "first step; for another run give another name, fields or replica="
            )

    def _keep_start(self, run: RunFolder) -> None:
        if not self._is_lasting:
            return
        assert self._start is not None
        arrays = {n: t.cpu().numpy() for n, t in self._start.tensors().items()}
        run.save_start(arrays, {"fingerprint": self._start.fingerprint})
        if self._keep == "file":
            self._start = self._start.holding(self._load_start(run))

    def _load_start(self, run: RunFolder) -> dict[str, Tensor]:
        arrays = run.map_start() if self._keep == "file" else run.load_start()
        if arrays is None:
            raise StoreError(
                f"{self._store.path} does not have the start of {self._name!r} "
                f"({run.run_key}): say the store in which it was begun"
            )
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def _watch(self, run: RunFolder) -> None:
        assert self._start is not None
        initial = self._start.parameters
        sample = Sample(initial, self._places)
        self._path = PathLengths(initial, sample)
        facts = {"only": self._only}
        self._recorder = Recorder(
            run, initial, self._schedule, facts, path=self._path, view=self._start
        )
        self._seen.begin(self._reference())
        for sink in self._sinks:
            self._tell(sink.begin, run.description)

    def _begun(self) -> RunFolder:
        if self._run is None or self._recorder is None:
            if self._optimizers:
                raise SpecError(
                    "no step was made yet: the start is taken right before the first, "
                    "or by tracker.begin()"
                )
            self.begin()
        assert self._run is not None
        return self._run

    def _leave(self) -> None:
        """Write what there is; the run may be gone on with."""
        self.detach()
        if self._run is not None and not self._run.is_done:
            self.flush()
            self._run.stop()


def _reader(
    model: Model, tensors: str | Collection[str] | None
) -> Callable[[], Parameters]:
    from fnmatch import fnmatchcase

    patterns = [tensors] if isinstance(tensors, str) else list(tensors or ["*"])

    def read() -> Parameters:
        source = model if isinstance(model, nn.Module) else model()
        every = to_parameters(source)
        chosen = {
            name: one
            for name, one in every.items()
            if any(fnmatchcase(name, pattern) for pattern in patterns)
        }
        if not chosen:
            raise SpecError(
                f"no tensor is named like {', '.join(patterns)}: there are "
                f"{', '.join(list(every)[:5])}, ..."
            )
        return Parameters(chosen)

    return read


def _as_list(optimizer: Any) -> list[torch.optim.Optimizer]:
    if optimizer is None:
        return []
    return list(optimizer) if isinstance(optimizer, Sequence) else [optimizer]


def _open(owner: object, store: str | Path | Store | None) -> Store:
    """The store; without one a folder that goes with its owner."""
    if isinstance(store, Store):
        return store
    if store is None:
        folder = tempfile.TemporaryDirectory(prefix="birthmark-")
        weakref.finalize(owner, folder.cleanup)
        store = folder.name
    return open_store(store, create=True)


def _leave_at_exit(tracker: Tracker) -> None:
    reference = weakref.ref(tracker)

    def leave() -> None:
        alive = reference()
        if alive is not None and alive._is_lasting:
            alive._leave()

    atexit.register(leave)
    weakref.finalize(tracker, atexit.unregister, leave)


def _check_names(start: Start, kept: Mapping[str, Tensor]) -> None:
    expected = {n: tuple(one.values.shape) for n, one in start.parameters.items()}
    found = {name: tuple(tensor.shape) for name, tensor in kept.items()}
    odd = sorted(dict(expected.items() ^ found.items()))
    if odd:
        raise WeightsError(
            f"the kept start differs from the model in {', '.join(odd[:3])}: go on with "
            "the model, tensors= and keep= that the run was begun with"
        )
