"""A page from a template: the style in it, its hash in the policy, written whole."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from birthmark import __version__
from birthmark.store import check_target
from birthmark.whole_files import write_output

if TYPE_CHECKING:
    from birthmark.checkup import CheckUp
    from birthmark.weight_files import Diff, Parting, Trajectory


def write_page(template: str, path: str | Path, **values: Any) -> Path:
    """Write one HTML file that needs nothing else to be read.

    Args:
        template: Name of the template, which gets `values` and what all pages need.
        path: The file.
        **values: What the template shows.

    Raises:
        StoreError: The file cannot be written.
    """
    target = check_target(path)
    style = files("birthmark.report").joinpath("templates", "report.css")
    css = style.read_text(encoding="utf-8")
    environment = Environment(
        loader=PackageLoader("birthmark.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template).render(
        css=Markup(css),  # ours, and no place for what others wrote
        css_hash=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        version=__version__,
        written=datetime.now(UTC),
        **values,
    )
    return write_output(target, page)


def write_checkup(checkup: CheckUp, path: str | Path) -> Path:
    """Write a check-up as one HTML file that needs nothing else to be read.

    Findings in words come first, then the tables by layer and by tensor.

    Returns:
        The path of the file.

    Raises:
        StoreError: The file cannot be written.
    """
    return write_page(
        "checkup.html",
        path,
        checkup=checkup,
        counts={
            level: sum(finding.level == level for finding in checkup.findings)
            for level in ("error", "warning", "note")
        },
        layers=checkup.layer_table(),
        legends=checkup.legends(),
        drawing=Markup(checkup.svg()),  # names in it are escaped where it is drawn
        bad={
            name for finding in checkup.at_or_above("warning") for name in finding.where
        },
        tensors=checkup.tensor_table(),
    )


@dataclass(frozen=True)
class Bar:
    """How far a tensor moved on the way to a re-draw, in percent of its bar."""

    name: str
    length: float  # 100 is as far as the null model
    label: str  # how far, and in brackets the null model


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
        Bar(name, 100 * value / null, f"{value:.3g} ({null:.3g})")
        for name, value, null in moved
        if null
    ]
    return [bar for bar in bars if math.isfinite(bar.length)]
