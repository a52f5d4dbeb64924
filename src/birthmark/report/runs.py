"""The runs of a store as one table: what differs, how far they are, what came of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from birthmark.analysis import (
    LEARNERS,
    Column,
    Quantity,
    Run,
    Survey,
    find_metrics,
    read_retention,
    say_number,
)
from birthmark.report.facts import NONE, say_value
from birthmark.shapes import Array
from birthmark.statistics import Estimate, summarize

_SHOWN = ("data.name", "network.widths", "training.lr")  # even where all are equal
_NOT_SHOWN = ("record.", "run.device", "mark.", "initialization.bias.")
_MOST = 8  # fields with a column of their own
_METRICS = 3  # of a user's own loop, with a column each


@dataclass(frozen=True)
class Cell:
    """What stands in a table, and in small print below it."""

    text: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Rows below a header; the first cell of a row is its name."""

    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def list_runs(
    runs: Sequence[Mapping[str, Any]], survey: Survey, apart: Sequence[str]
) -> Table:
    """Each run with what sets it apart and what came of it.

    Args:
        runs: The table of the store, in the order of the rows.
        survey: Of the same store.
        apart: Fields that differ between runs.
    """
    own = [name for name in apart if not name.startswith(_NOT_SHOWN)]
    own = [name for name in dict.fromkeys((*_SHOWN, *own)) if name in runs[0]]
    own = own[:_MOST]
    found = {run.run_key: run for run in survey.runs}
    judged = any(run.given is not None for run in survey.runs)
    loops = [run for run in survey.runs if run.given is None]
    metrics = find_metrics(loops)[:_METRICS] if loops else ()
    rows = []
    for row in runs:
        run = found.get(str(row["run_key"]))
        cells = [Cell(str(row["run_key"])), *(Cell(say_value(row[n])) for n in own)]
        cells += [_mark(row)] if "mark.text" in runs[0] and judged else []
        cells += [_progress(row), Cell(_say_duration(row["wall_time_s"]))]
        noted = [_noted(run, survey, metric) for metric in metrics]
        rows.append((*cells, *noted, *_outcomes(run, survey)))
    heads = ["run", *(name.rpartition(".")[2].replace("_", " ") for name in own)]
    heads += ["mark"] if "mark.text" in runs[0] and judged else []
    note = (
        "Means over the replicas of a run, 95 % intervals below. Distance and "
        "correlation are of the matrix into the last hidden layer, at the last record. "
        "Retention is that of pooled sizes where it is known, else of single weights."
    )
    labels = [metric.label for metric in metrics]
    every = (*heads, "progress", "time", *labels, *_HEADS)
    said = [
        i
        for i, column in enumerate(zip(*rows, strict=True))
        if any(cell.text not in (NONE, _UNKNOWN) for cell in column)
    ]
    return Table(
        note,
        tuple(every[i] for i in said),
        tuple(tuple(row[i] for i in said) for row in rows),
    )


_UNKNOWN = "unknown"
_HEADS = (
    "learners",
    "least train loss",
    "least test loss",
    "relative distance",
    "correlation",
    "retention",
)


def _outcomes(run: Run | None, survey: Survey) -> list[Cell]:
    """One cell for each of the heads; of a run without records they are empty."""
    if run is None:
        return [Cell(NONE)] * len(_HEADS)
    column = Column("", (run,), survey.thresholds)
    moved = [column.final(n, run.layer) for n in ("relative_distance", "correlation")]
    if run.given is None:
        return [Cell(NONE)] * 3 + [_mean(one) for one in moved] + [Cell(NONE)]
    return [
        _learners(column),
        _mean(column.joined("min_train_loss")),
        _mean(column.joined("min_test_loss")),
        *(_mean(one) for one in moved),
        _mean(read_retention(column)),
    ]


def _noted(run: Run | None, survey: Survey, metric: Quantity) -> Cell:
    """What a user's own loop noted last; a run of a spec has columns of its own."""
    if run is None or run.given is not None or metric.name not in run.arrays:
        return Cell(NONE)
    return _mean(metric.read(Column("", (run,), survey.thresholds)))


def _mark(row: Mapping[Any, Any]) -> Cell:
    sign = row["mark.text"] if isinstance(row["mark.text"], str) else row["mark.image"]
    if not isinstance(sign, str):
        return Cell(NONE)
    how = [row["mark.layer"], row["mark.mode"]]
    how += [] if row["mark.value"] is None else [say_value(row["mark.value"])]
    return Cell(sign, (", ".join(how),))


def _progress(row: Mapping[Any, Any]) -> Cell:
    at = row["epoch"] if row["epoch"] is not None else row.get("step")
    of = row.get("training.epochs")
    text = say_value(None if at is None else int(at))
    if of is not None:
        text = f"{'0' if text == NONE else text} of {int(of)}"
    return Cell(text, (str(row["state"]),))


def _learners(column: Column) -> Cell:
    counts = {name: int((column.learners == name).sum()) for name in LEARNERS}
    first, *others = (f"{n} {name}" for name, n in counts.items() if n)
    return Cell(first, tuple(others))


def _mean(values: Array) -> Cell:
    estimate = summarize(values)
    if not estimate.n:
        return Cell(NONE)
    return Cell(say_number(estimate.mean), _span(estimate))


def _span(estimate: Estimate) -> tuple[str, ...]:
    if estimate.n < 2 or not np.isfinite(estimate.low) or estimate.low == estimate.high:
        return ()
    return (f"{say_number(estimate.low)} to {say_number(estimate.high)}",)


def _say_duration(seconds: float | None) -> str:
    if seconds is None or not math.isfinite(seconds):
        return _UNKNOWN
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.1f} min"
