"""Sweeps over a training function of the user's own.

def train(track, lr, width, seed):
    torch.manual_seed(seed)
    model, optimizer = ...
    tracker = track(model, optimizer)        # a bm.Tracker of this run
    ...                                      # the loop as it was

bm.sweep(train, {"lr": [0.01, 0.1], "width": [64, 256], "seed": range(10)},
         store="runs")
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import shlex
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from birthmark.checkup import seed_streams
from birthmark.errors import SpecError
from birthmark.store import RUN_COLUMNS, Store, flatten, open_store
from birthmark.sweeps.cells import expand_cells
from birthmark.sweeps.executors import Executor, Here
from birthmark.sweeps.grid import Rule, apply_rules, check_rules, list_values
from birthmark.sweeps.plan import deal
from birthmark.sweeps.tasks import Outcome, Report
from birthmark.tracking import Tracker

_log = logging.getLogger("birthmark")
REPLICA = "seed"  # the field that numbers replicas, and tells no runs apart

Train = Callable[..., Any]
Cell = tuple[int, frozenset[tuple[str, Hashable]]]  # replica and fields of a run


@dataclass(frozen=True)
class FunctionTask:
    """One call of a training function."""

    train: Train
    name: str
    fields: Mapping[str, Any]

    @property
    def key(self) -> str:
        """`train(lr=0.1, seed=3)`."""
        given = ", ".join(f"{key}={value!r}" for key, value in self.fields.items())
        return f"{self.name}({given})"

    @property
    def words(self) -> str:
        """The call."""
        return self.key

    def is_done(self, store: Path) -> bool:
        """Whether a run of this name and these fields is there and finished."""
        return self.cell in _find_done(open_store(store), self.name)

    def carry_out(self, store: Path, report: Report) -> None:
        """Call the function; what it tracks is finished when it returns.

        Streams that draw without a seed of the function's own are those of these
        fields: made again, alone or by whom ever, the call draws the same.
        """
        trackers: list[Tracker] = []

        def track(*arguments: Any, **options: Any) -> Tracker:
            options = {"name": self.name, "replica": self._replica, **options}
            tracker = Tracker(*arguments, store=store, fields=self._said, **options)
            trackers.append(tracker)
            closing.callback(tracker.close)
            return tracker

        with ExitStack() as closing:
            with _drawing(self.key):
                self.train(track, **self.fields)
            for tracker in trackers:
                tracker.finish()

    def command(self, store: Path) -> str:
        """A call of Python; what only the session that has the function can call."""
        function = _name(self.train)
        options = f", name={_say(self.name)}" if self.name != function else ""
        what = (
            f"{_say(dict(self.fields))}, store={_say(str(store.absolute()))}{options}"
        )
        found = _find_source(self.train)
        if found is None:
            return f"birthmark.sweeps.call({function}, {what})"
        known, function = found
        code = f"{known}; from birthmark.sweeps import call; call({function}, {what})"
        return shlex.join(["python", "-c", code])

    @property
    def _replica(self) -> int:
        return int(self.fields.get(REPLICA, 0))

    @property
    def _said(self) -> dict[str, Any]:
        return {key: value for key, value in self.fields.items() if key != REPLICA}

    @property
    def cell(self) -> Cell:
        """What tells its run from others of this name."""
        return _as_cell(self._replica, self._said)


def call(
    train: Train,
    fields: Mapping[str, Any],
    *,
    store: str | Path | Store,
    name: str | None = None,
) -> None:
    """Make one call of a sweep alone: what it raises comes as it was raised.

    Args:
        train: As for `sweep`.
        fields: Of the call.
        store: Folder of the store; made when it is missing.
        name: As for `sweep`.
    """
    opened = store if isinstance(store, Store) else open_store(store, create=True)
    task = FunctionTask(train, name or _name(train), fields)
    task.carry_out(opened.path, lambda standing: None)


def _name(train: Train) -> str:
    return str(getattr(train, "__name__", "sweep"))


def sweep(
    train: Train,
    product: Mapping[str, Sequence[Any]] | None = None,
    *,
    store: str | Path | Store,
    zip: Mapping[str, Sequence[Any]] | None = None,
    list: Sequence[Mapping[str, Any]] | None = None,
    derive: Mapping[str, Rule] | None = None,
    where: Rule | None = None,
    name: str | None = None,
    executor: Executor | None = None,
    shard: tuple[int, int] = (1, 1),
    finished: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Call a training function for each cell of a grid, where it was not called yet.

    Args:
        train: Called as `train(track, **fields)`. `track` takes what `bm.Tracker` does
            and gives a tracker of this run; when the function returns, the run is done.
            Other processes import it: it stands at the top of a module.
        product: Values by field, each with each of the others. A field named `seed`
            numbers replicas: runs that differ in it alone are compared as such.
        store: Folder of the store; made when it is missing.
        zip: Values by field that go together, all of one length.
        list: Fields, cell by cell.
        derive: By field, an expression or a function of the other fields.
        where: What is true of the cells that stay, likewise.
        name: Of the runs; that of the function unless given.
        executor: This process unless given; `birthmark.sweeps` has others.
        shard: (I, N): only the I-th of N parts of the cells.
        finished: Called with what becomes of each call.

    Returns:
        What became of each, in the order of the grid; those that were done as well.
        What failed is also a warning of the logger `birthmark`, with the command that
        makes this call alone.

    Raises:
        SpecError: The grid is none.
        KeyboardInterrupt: It was stopped.
    """
    named = name or _name(train)
    grid = {
        "product": list_values(product),
        "zip": list_values(zip),
        "list": [dict(cell) for cell in list or ()],
    }
    tasks = []
    for cell in expand_cells(grid):
        if type(cell.get(REPLICA, 0)) is not int:
            raise SpecError(f"{REPLICA}: needs whole numbers, got {cell[REPLICA]!r}")
        check_rules(cell, derive or {})
        derived = apply_rules(cell, derive or {}, [] if where is None else [where])
        if derived is not None:
            tasks.append(FunctionTask(train, named, {**cell, **derived}))
    if not tasks:
        raise SpecError("grid: no run is left: loosen its conditions")
    tasks = deal(tasks, shard)
    opened = store if isinstance(store, Store) else open_store(store, create=True)
    found = {task.key: Outcome(task.key, "done") for task in tasks}
    done = _find_done(opened, named)  # once: many runs take a while to list
    waiting = [task for task in tasks if task.cell not in done]
    commands = {task.key: task.command for task in waiting}
    chosen, ended = executor or Here(), set[str]()
    for outcome in chosen.carry_out(waiting, opened.path, lambda standing: None):
        found[outcome.key] = outcome
        if outcome.status != "stopped":
            ended.add(outcome.key)
        if outcome.status == "failed":
            command = commands[outcome.key](opened.path)
            _log.warning(
                "%s failed: %s\n  alone: %s", outcome.key, outcome.message, command
            )
        if finished is not None:
            finished(outcome)
    if not ended.issuperset(commands):
        raise KeyboardInterrupt
    return [*found.values()]


@contextmanager
def _drawing(address: str) -> Iterator[None]:
    """What is drawn inside comes from streams of this address alone."""
    digest = hashlib.sha256(address.encode("utf-8", "surrogatepass")).digest()
    streams = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        seed_streams(int.from_bytes(digest[:4]))
        try:
            yield
        finally:
            random.setstate(streams[0])
            np.random.set_state(streams[1])  # noqa: NPY002


def _find_source(train: Train) -> tuple[str, str] | None:
    """A statement that makes another process know the function, and its name then.

    None of what stands in no module or script, or inside of another function.
    """
    module = getattr(train, "__module__", None)
    name = getattr(train, "__qualname__", "<")
    if module not in sys.modules or "<" in name:
        return None
    file = getattr(sys.modules[module], "__file__", None)
    path = Path(file or "").resolve()
    if module != "__main__":
        known, depth = f"import {module}", module.count(".")
        if file and path.name != "__init__.py":
            folder = _say(str(path.parents[depth]))
            known = f"import sys; sys.path.insert(0, {folder}); {known}"
        return known, f"{module}.{name}"
    if not path.is_file():
        return None
    beside = f"import runpy, sys; sys.path.insert(0, {_say(str(path.parent))})"
    outer, *inner = name.split(".")
    script = f"runpy.run_path({_say(str(path))})[{_say(outer)}]"
    return beside, ".".join([script, *inner])


def _say(value: Any) -> str:
    """As Python reads it; texts in quotes that need no others in a shell."""
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False)
        case dict():
            return (
                "{" + ", ".join(f"{_say(k)}: {_say(v)}" for k, v in value.items()) + "}"
            )
        case list():
            return "[" + ", ".join(map(_say, value)) + "]"
    return repr(value)


def _find_done(store: Store, name: str) -> set[Cell]:
    """The cells of the finished runs of this name."""
    runs = store.runs(name=name, state="done").dropna(subset="replica")
    own = runs.drop(columns=[*RUN_COLUMNS.intersection(runs.columns)])
    rows: list[Any] = own.astype(object).where(own.notna(), None).to_dict("records")
    return {_as_cell(*one) for one in zip(runs["replica"], rows, strict=True)}


def _as_cell(replica: int, fields: Mapping[str, Any]) -> Cell:
    """Replica and fields as they compare: 1 is 1.0, true is another, None is none."""
    said = {key: value for key, value in flatten(fields).items() if value is not None}
    return int(replica), frozenset((key, _fixed(value)) for key, value in said.items())


def _fixed(value: Any) -> Hashable:
    if isinstance(value, list | tuple):
        return tuple(_fixed(one) for one in value)
    return isinstance(value, bool), value
