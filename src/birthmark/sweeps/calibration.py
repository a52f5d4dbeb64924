"""How long runs take on this machine: a few steps of each kind are timed, once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs
import torch

from birthmark.data import load_dataset
from birthmark.measurements import measure
from birthmark.spec import RunSpec
from birthmark.store import replacing
from birthmark.training import Training, describe_device

_TRIAL_SECONDS = 0.2  # at least, of steps


@dataclass(frozen=True)
class StepTimes:
    """Seconds on this machine."""

    step: float
    evaluation: float  # of the test set, each epoch
    record: float  # scalars of the weights, each recorded epoch
    steps_per_epoch: int

    def seconds(self, spec: RunSpec) -> float:
        """Of a whole run."""
        epochs = spec.training.epochs
        each = self.steps_per_epoch * self.step + self.evaluation
        return epochs * each + len(spec.recorded_epochs) * self.record


def calibrate(spec: RunSpec, *, threads: int | None = None) -> StepTimes:
    """The step times of a run, from a trial or from the cache of trials.

    Seeds, epochs, initialization and mark do not count: such runs share a trial.

    Raises:
        BirthmarkError: The spec, its data or its device cannot be used.
    """
    count = threads or torch.get_num_threads()
    cache = Path(platformdirs.user_cache_dir("birthmark")) / "paces.json"
    known = _read(cache)
    name = _name(spec, count)
    if name not in known:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            known[name] = asdict(_try(spec))
        finally:
            torch.set_num_threads(before)
        with contextlib.suppress(Exception):  # only a cache
            cache.parent.mkdir(parents=True, exist_ok=True)
            with replacing(cache) as temporary:
                temporary.write_text(json.dumps(known, indent=1), encoding="utf-8")
    return StepTimes(**known[name])


def _try(spec: RunSpec) -> StepTimes:
    training = Training.from_spec(spec, load_dataset(spec.data))
    training.advance(1)  # what is compiled or allocated once
    steps, count, began = 0, 1, time.perf_counter()
    while time.perf_counter() - began < _TRIAL_SECONDS:
        before = training.step
        training.advance(count)
        steps += training.step - before
        count *= 2
        if training.epoch >= spec.training.epochs:
            break
    step = (time.perf_counter() - began) / max(steps, 1)
    began = time.perf_counter()
    training.metrics_at_start()
    evaluation = time.perf_counter() - began
    began = time.perf_counter()
    measure(training.initial, training.weights, kind="scalars")
    record = time.perf_counter() - began
    return StepTimes(step, evaluation, record, training.steps_per_epoch)


def _name(spec: RunSpec, threads: int) -> str:
    fields = spec.model_dump(mode="json", exclude={"record", "mark", "initialization"})
    fields["training"].pop("epochs")
    for free in ("seed", "order_seed"):
        fields["run"].pop(free)
    fields |= {"device": describe_device(spec.run.device), "threads": threads}
    text = json.dumps([fields, torch.__version__], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _read(cache: Path) -> dict[str, dict[str, Any]]:
    try:
        known: dict[str, dict[str, Any]] = json.loads(cache.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
