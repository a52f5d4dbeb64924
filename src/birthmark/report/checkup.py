"""The check-up of a model as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from birthmark.report.pages import write_page

if TYPE_CHECKING:
    from birthmark.checkup import CheckUp


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
