"""Checkpoints side by side, or trainings, as one HTML page."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from birthmark.report.pages import write_page

if TYPE_CHECKING:
    from birthmark.weight_files import Diff, Parting, Trajectory


@dataclass(frozen=True)
class Bar:
    """How far a tensor moved on the way to a re-draw, in percent of its bar."""

    name: str
    length: float  # 100 is as far as the null model
    label: str


def write_diff(diff: Diff, path: str | Path) -> Path:
    """Write a diff as one HTML file that needs nothing else to be read.

    What happened comes first, then a bar for each weight matrix in the order of the
    network, the findings, and all tensors with their null models.

    Returns:
        The path of the file.

    Raises:
        StoreError: The file cannot be written.
    """
    moved = [(one.name, one.readings["relative_distance"]) for one in diff.weights()]
    bars = _bars((name, far.value, far.redraw) for name, far in moved)
    return write_page("diff.html", path, diff=diff, bars=bars, table=diff.table())


def write_course(course: Trajectory | Parting, path: str | Path, title: str) -> Path:
    """Write a trajectory, or two trainings side by side, as one HTML file.

    Returns:
        The path of the file.

    Raises:
        StoreError: The file cannot be written.
    """
    bars, table = _bars(course.lengths()), course.table()
    return write_page(
        "course.html", path, course=course, title=title, bars=bars, table=table
    )


def _bars(moved: Iterable[tuple[str, float, float | None]]) -> list[Bar]:
    """Of (name, how far, null model): those whose length is a finite number."""
    bars = [
        Bar(name, 100 * value / null if null else math.nan, f"{value:.3g}")
        for name, value, null in moved
    ]
    return [bar for bar in bars if math.isfinite(bar.length)]
