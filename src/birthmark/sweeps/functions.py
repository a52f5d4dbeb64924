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

import logging
import shlex
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from birthmark.errors import SpecError
from birthmark.store import RUN_COLUMNS, Store, flatten, open_store
from birthmark.sweeps.cells import expand_cells
from birthmark.sweeps.executors import Executor, Here
from birthmark.sweeps.grid import Rule, apply_rules, check_rules, list_values
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
        """Call the function; what it tracks is finished when it returns."""
        trackers: list[Tracker] = []

        def track(*arguments: Any, **options: Any) -> Tracker:
            options = {"name": self.name, "replica": self._replica, **options}
            tracker = Tracker(*arguments, store=store, fields=self._said, **options)
            trackers.append(tracker)
            return tracker

        try:
            self.train(track, **self.fields)
        except BaseException:
            for tracker in trackers:
                tracker.close()
            raise
        for tracker in trackers:
            tracker.finish()

    def command(self, store: Path) -> str:
        """The call in Python."""
        module = getattr(self.train, "__module__", "__main__")
        call = f"bm.sweep({module}.{self.train.__qualname__}, list=[{self.fields!r}]"
        code = f"import birthmark as bm, {module}; {call}, store={str(store)!r})"
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
        What failed is also a warning of the logger `birthmark`.

    Raises:
        SpecError: The grid is none.
        KeyboardInterrupt: It was stopped.
    """
    named = name or str(getattr(train, "__name__", "sweep"))
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
    tasks = tasks[shard[0] - 1 :: shard[1]]
    if not tasks:
        raise SpecError("grid: no run is left: loosen its conditions")
    opened = store if isinstance(store, Store) else open_store(store, create=True)
    found = {task.key: Outcome(task.key, "done") for task in tasks}
    done = _find_done(opened, named)  # once: many runs take a while to list
    waiting = [task for task in tasks if task.cell not in done]
    chosen = executor or Here()
    for outcome in chosen.carry_out(waiting, opened.path, lambda standing: None):
        found[outcome.key] = outcome
        if outcome.status == "failed":
            _log.warning("%s failed: %s", outcome.key, outcome.message)
        if finished is not None:
            finished(outcome)
    stopped = any(outcome.status == "stopped" for outcome in found.values())
    if stopped:
        raise KeyboardInterrupt
    return [*found.values()]


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
