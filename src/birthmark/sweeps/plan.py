"""What a sweep will do, before it does anything: which runs, how, in which order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch

from birthmark.errors import SpecError
from birthmark.spec import RunSpec
from birthmark.store import Store, flatten
from birthmark.sweeps.calibration import calibrate
from birthmark.sweeps.tasks import RunTask
from birthmark.training import (
    check_memory,
    check_spec,
    choose_products,
    estimate_memory,
    find_device,
    find_path_name,
)


@dataclass(frozen=True)
class Plan:
    """Runs that are there already, and tasks for those that are not."""

    done: tuple[RunSpec, ...]
    tasks: tuple[RunTask, ...]  # the longest first, if they were timed
    seconds: dict[str, float] = field(default_factory=dict)  # by run key

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
    done = [spec for spec in specs if store is not None and store.is_done(spec.run_key)]
    keys = {spec.run_key for spec in done}
    # dealt out before what is done is left out: the same in each array task
    mine = [spec for spec in list(_deal(specs, *shard)) if spec.run_key not in keys]
    for spec in mine:
        check_memory(spec)
    count = threads or torch.get_num_threads()
    words = _tell_apart(specs)
    tasks = [RunTask(spec, _fix(spec, count), words[spec.run_key]) for spec in mine]
    seconds: dict[str, float] = {}
    if timed:
        seconds = {
            task.key: calibrate(task.spec, threads=count).seconds(task.spec)
            for task in tasks
        }
        tasks.sort(key=lambda task: -seconds[task.key])
    return Plan(tuple(done), tuple(tasks), seconds)


def parse_shard(text: str) -> tuple[int, int]:
    """`3/8` as (3, 8).

    Raises:
        SpecError: It is not I/N with I from 1 to N.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise SpecError(f"--shard {text!r} is not I/N with I from 1 to N: 1/8 ... 8/8")
    return int(match[1]), int(match[2])


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


def _deal(specs: list[RunSpec], number: int, count: int) -> Iterator[RunSpec]:
    return iter(specs[number - 1 :: count])


def _fix(spec: RunSpec, threads: int) -> dict[str, object]:
    device = find_device(spec.run.device)
    how: dict[str, object] = {"products": choose_products(spec), "threads": threads}
    path = find_path_name(spec, device)
    if path in ("compiled", "general"):  # the others are tried out by the engine
        how["path"] = path
    return how
