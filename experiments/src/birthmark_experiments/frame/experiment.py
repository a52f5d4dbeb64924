"""What an experiment is: a question, a way to measure, and a summary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr


@dataclass(frozen=True)
class Experiment:
    """A question about initialization or training, and how it gets its answer."""

    name: str  # such as `constant-start`; of its page, figure and records as well
    question: str  # one line, as a user would ask it
    data: tuple[str, ...]  # data sets that the full scale needs

    # (scale, folder) -> results; what is trained is stored in the folder, and goes on
    # where it was stopped. `full` is the protocol of the shipped records; `quick`
    # shows in seconds that everything works, on smaller data, and proves nothing.
    measure: Callable[[str, Path], xr.Dataset]

    # results -> facts that the page states: numbers, texts, lists and tables of them
    summarize: Callable[[xr.Dataset], dict[str, Any]]


def labelled(long_name: str, units: str) -> dict[str, str]:
    """The attributes that every variable of results carries."""
    return {"long_name": long_name, "units": units}
