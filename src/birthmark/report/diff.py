"""Checkpoints side by side, or trainings, as one HTML page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from birthmark.report.pages import write_page

if TYPE_CHECKING:
    from birthmark.weight_files import Diff, Parting, TensorDiff, Trajectory


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
    bars = [_bar(tensor) for tensor in diff.weights()]
    return write_page(
        "diff.html",
        path,
        diff=diff,
        bars=[bar for bar in bars if math.isfinite(bar.length)],
        table=diff.table(),
    )


def write_course(course: Trajectory | Parting, path: str | Path, title: str) -> Path:
    """Write a trajectory, or two trainings side by side, as one HTML file.

    Returns:
        The path of the file.

    Raises:
        StoreError: The file cannot be written.
    """
    bars = [
        Bar(name, 100 * value / null if null else math.nan, f"{value:.3g}")
        for name, value, null in course.lengths()
    ]
    return write_page(
        "course.html",
        path,
        course=course,
        title=title,
        bars=[bar for bar in bars if math.isfinite(bar.length)],
        table=course.table(),
    )


def _bar(tensor: TensorDiff) -> Bar:
    moved = tensor.readings["relative_distance"]
    length = 100 * moved.value / moved.redraw if moved.redraw else float("nan")
    return Bar(tensor.name, length, f"{moved.value:.3g}")
