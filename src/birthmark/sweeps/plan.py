"""What a sweep will do, before it does anything: which runs, how, in which order."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import platformdirs
import torch

from birthmark.data import load_dataset
from birthmark.errors import SpecError
from birthmark.measurements import measure
from birthmark.spec import RunSpec
from birthmark.store import Store, flatten, replacing
from birthmark.sweeps.provenance import describe_software
from birthmark.sweeps.tasks import RunTask
from birthmark.training import (
    Training,
    check_memory,
    check_spec,
    choose_products,
    describe_device,
    estimate_memory,
    find_device,
    find_path_name,
)

_T = TypeVar("_T")

_TRIAL_SECONDS = 0.2  # at least, of steps


@dataclass(frozen=True)
class Plan:
    """Runs that are there already, and tasks for those that are not."""

    done: tuple[RunSpec, ...]
    tasks: tuple[RunTask, ...]  # the longest first, if they were timed
    seconds: dict[str, float] = field(default_factory=dict)  # by run key
    words: dict[str, str] = field(default_factory=dict)  # by run key, of all

    def time(self, workers: int) -> float:
        """Seconds until all is done, with so many at a time: each takes the next."""
        ends = [0.0] * workers
        for task in self.tasks:
            first = ends.index(min(ends))
            ends[first] += self.seconds.get(task.key, 0.0)
        return max(ends)

    def memory(self) -> str:
        """What the largest task needs, in words."""
        needs = [estimate_memory(task.spec) for task in self.tasks]
        return str(max(needs, key=lambda need: need.total)) if needs else ""


def make_plan(
    specs: Iterable[RunSpec],
    store: Store | None,
    *,
    shard: tuple[int, int] = (1, 1),
    threads: int | None = None,
    timed: bool = False,
) -> Plan:
    """Plan a sweep; nothing is trained, but for a short trial of each kind of run.

    Path, products and threads are fixed here, so that a run has the same bits whoever
    carries it out.

    Args:
        specs: The runs; all are checked.
        store: Where they are to go; None while it does not exist.
        shard: (I, N): only the I-th of N parts, dealt out run by run.
        threads: Of each run; as many as this process has, unless given.
        timed: Whether to estimate times, and put the longest first.

    Raises:
        SpecError, HardwareError, DataError: One of the runs cannot be carried out.
    """
    specs = list(specs)
    for spec in specs:
        check_spec(spec)
    # dealt out before what is done is left out: the same in each array task
    mine = deal(specs, shard)
    done = [spec for spec in mine if store is not None and store.is_done(spec.run_key)]
    keys = {spec.run_key for spec in done}
    left = [spec for spec in mine if spec.run_key not in keys]
    for spec in left:
        check_memory(spec)
    count = threads or torch.get_num_threads()
    words = _tell_apart(specs)
    tasks = [RunTask(spec, _fix(spec, count), words[spec.run_key]) for spec in left]
    seconds: dict[str, float] = {}
    if timed:
        seconds = {
            task.key: calibrate(task.spec, threads=count).seconds(task.spec)
            for task in tasks
        }
        tasks.sort(key=lambda task: -seconds[task.key])
    return Plan(tuple(done), tuple(tasks), seconds, words)


def parse_shard(text: str) -> tuple[int, int]:
    """`3/8` as (3, 8).

    Raises:
        SpecError: It is not I/N with I from 1 to N.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    if not match or not _is_shard(shard := (int(match[1]), int(match[2]))):
        raise SpecError(f"--shard {text!r} is not I/N with I from 1 to N: 1/8 ... 8/8")
    return shard


def deal(whole: Sequence[_T], shard: tuple[int, int]) -> list[_T]:
    """The I-th of N parts of a sequence, dealt out one by one.

    Raises:
        SpecError: I is not from 1 to N.
    """
    if not _is_shard(shard):
        raise SpecError(f"shard={shard!r} is not (I, N) with I from 1 to N")
    return [*whole[shard[0] - 1 :: shard[1]]]


def _is_shard(shard: tuple[int, int]) -> bool:
    return 1 <= shard[0] <= shard[1]


def _tell_apart(specs: list[RunSpec]) -> dict[str, str]:
    """What is said of each run: the fields in which it differs from the others."""
    fields = {spec.run_key: flatten(spec.model_dump(mode="json")) for spec in specs}
    names = dict.fromkeys(name for one in fields.values() for name in one)
    apart = [
        name
        for name in names
        if not name.endswith("_sha256")
        if len({str(one.get(name)) for one in fields.values()}) > 1
    ]
    if not apart:
        apart = ["data.name", "network.widths"]
    return {
        key: ", ".join(f"{_short(name)} {_say(one.get(name))}" for name in apart)
        for key, one in fields.items()
    }


def _short(name: str) -> str:
    parent, _, last = name.rpartition(".")
    return parent if last == "name" else last


def _say(value: object) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def _fix(spec: RunSpec, threads: int) -> dict[str, object]:
    device = find_device(spec.run.device)
    how: dict[str, object] = {"products": choose_products(spec), "threads": threads}
    path = find_path_name(spec, device)
    if path in ("compiled", "general"):  # the others are tried out by the engine
        how["path"] = path
    return how


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

    Seeds, epochs, learning rate, initialization and mark do not count: such runs share
    a trial. Another processor, path, number of threads or version is tried anew.

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
            known[name] = _try(spec)
        finally:
            torch.set_num_threads(before)
        with contextlib.suppress(Exception):  # only a cache
            cache.parent.mkdir(parents=True, exist_ok=True)
            with replacing(cache) as temporary:
                kept = {name: asdict(one) for name, one in known.items()}
                temporary.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    return known[name]


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
    measure(training.initial, training.weights, kind="scalars")  # imported once
    began = time.perf_counter()
    measure(training.initial, training.weights, kind="scalars")
    record = time.perf_counter() - began
    return StepTimes(step, evaluation, record, training.steps_per_epoch)


def _name(spec: RunSpec, threads: int) -> str:
    fields = spec.model_dump(mode="json", exclude={"record", "mark", "initialization"})
    for free in ("epochs", "lr"):
        fields["training"].pop(free)
    for free in ("seed", "order_seed"):
        fields["run"].pop(free)
    device = find_device(spec.run.device)
    fields |= {"device": describe_device(device), "threads": threads}
    fields |= {"path": find_path_name(spec, device), **describe_software()["versions"]}
    text = json.dumps(fields, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _read(cache: Path) -> dict[str, StepTimes]:
    try:
        kept = json.loads(cache.read_text("utf-8"))
        return {name: StepTimes(**one) for name, one in kept.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
