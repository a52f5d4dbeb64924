"""The runs of a store as two tables: what was run, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from birthmark.analysis import (
    LEARNERS,
    Column,
    Survey,
    say_number,
)
from birthmark.report.facts import NONE, say_value
from birthmark.statistics import Estimate, summarize

_ASKED = {
    "data": "data.name",
    "loss": "training.loss",
    "lr": "training.lr",
    "replicas": "run.replicas",
}
_SAID_OTHERWISE = ("mark.", "record.", "network.widths", "training.epochs")


@dataclass(frozen=True)
class Cell:
    """What stands in a table, and in small print below it."""

    text: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Rows below a header; the first cell of a row is its name."""

    caption: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def list_runs(runs: pd.DataFrame, apart: Sequence[str]) -> Table:
    """What was run, and how far it is.

    Args:
        runs: The table of the store.
        apart: Fields of the spec that differ between runs; those without a column of
            their own get one.
    """
    fields = _ASKED | {
        name: name
        for name in apart
        if name not in _ASKED.values() and not name.startswith(_SAID_OTHERWISE)
    }
    rows = []
    for row in runs.to_dict("records"):
        epoch = 0 if pd.isna(row["epoch"]) else row["epoch"]
        rows.append(
            (
                Cell(row["run_key"]),
                Cell(_say_widths(row["network.widths"])),
                _mark(row),
                *(Cell(say_value(row[name])) for name in fields.values()),
                Cell(f"{epoch} of {row['training.epochs']}"),
                Cell(row["state"]),
                Cell(_say_duration(row["wall_time_s"])),
            )
        )
    header = ("run", "widths", "mark", *fields, "epochs", "state", "wall time")
    note = "The networks that were asked for; what all runs share is in the protocol."
    return Table("What was run", note, header, tuple(rows))


def list_outcomes(survey: Survey) -> Table:
    """What came of each run, as means over its replicas with 95 % intervals."""
    rows = []
    for run in survey.runs:
        column = Column("", (run,), survey.thresholds)
        widths = _say_widths(run.spec.network.widths)
        cells = [describe(column) for describe in _OUTCOMES.values()]
        rows.append((Cell(run.run_key), Cell(widths), *cells))
    note = (
        "Means over replicas, 95 % intervals below; for epochs also in how many they "
        "were seen. Distance and correlation are of the matrix into the last "
        "hidden layer, at the last recorded epoch."
    )
    header = ("run", "widths", *_OUTCOMES)
    return Table("What came of it", note, header, tuple(rows))


def _mark(row: Mapping[Hashable, Any]) -> Cell:
    sign = row["mark.text"] if isinstance(row["mark.text"], str) else row["mark.image"]
    if not isinstance(sign, str):
        return Cell(NONE)
    how = [row["mark.layer"], row["mark.mode"]]
    how += [] if pd.isna(row["mark.value"]) else [say_value(row["mark.value"])]
    return Cell(sign, (", ".join(how),))


def _learners(column: Column) -> Cell:
    counts = {name: int((column.learners == name).sum()) for name in LEARNERS}
    first, *others = (f"{n} {name}" for name, n in counts.items() if n)
    return Cell(first, tuple(others))


def _minimum(which: str, column: Column) -> Cell:
    return _mean(summarize(column.joined(f"min_{which}_loss")))


def _epoch(which: str, column: Column) -> Cell:
    estimate = summarize(column.joined(f"min_{which}_epoch"))
    never = column.num_replicas - estimate.n
    return _seen(estimate, {"not seen yet": never})


def _divergence(column: Column) -> Cell:
    estimate = summarize(column.joined("divergence_epoch"))
    frozen = int(np.isfinite(column.joined("nonfinite_epoch")).sum())
    never = column.num_replicas - estimate.n
    return _seen(estimate, {"never": never, "frozen by NaN or Inf": frozen})


def _final(name: str, column: Column) -> Cell:
    return _mean(summarize(column.final(name, column.layer)))


def _retention(column: Column) -> Cell:
    mark = column.runs[0].spec.mark
    if mark is None:
        return Cell("no mark")
    return _mean(summarize(column.final("mark_auc", mark.layer)))


_OUTCOMES: dict[str, Callable[[Column], Cell]] = {
    "learners": _learners,
    "minimum train loss": partial(_minimum, "train"),
    "its epoch": partial(_epoch, "train"),
    "minimum test loss": partial(_minimum, "test"),
    "its epoch (test)": partial(_epoch, "test"),
    "divergence, epoch": _divergence,
    "final relative distance": partial(_final, "relative_distance"),
    "final correlation": partial(_final, "correlation"),
    "retention of the mark": _retention,
}


def _mean(estimate: Estimate) -> Cell:
    if not estimate.n:
        return Cell("unknown")
    return Cell(say_number(estimate.mean), _span(estimate))


def _seen(estimate: Estimate, others: Mapping[str, int]) -> Cell:
    """A mean over the replicas in which something was seen, and what of the others."""
    rest = tuple(f"{n} {what}" for what, n in others.items() if n)
    if not estimate.n:
        return Cell(NONE, rest)
    seen = f"in {estimate.n}"
    return Cell(say_number(estimate.mean), (*_span(estimate), seen, *rest))


def _span(estimate: Estimate) -> tuple[str, ...]:
    if estimate.n < 2:
        return ()
    return (f"{say_number(estimate.low)} to {say_number(estimate.high)}",)


def _say_widths(widths: tuple[int, ...]) -> str:
    return "-".join(map(str, widths))


def _say_duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "unknown"
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.1f} min"
