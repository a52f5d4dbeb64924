"""What a tracker tells others while it runs: one protocol, the same names everywhere.

A sink is any object with these methods; the front end of a logging service, a page, a
list in a test. Names are `distance/NAME`, `correlation/NAME`, ... for what is measured
of the tensor NAME, and those of `Tracker.log` for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, cast

import numpy as np
import xarray as xr

from birthmark.errors import SpecError
from birthmark.shapes import Finding
from birthmark.store import RunDescription


class Sink(Protocol):
    """Takes what a tracker records; an error in one stops no training."""

    def begin(self, run: RunDescription) -> None:
        """The run, before its first record or when it goes on."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers at a step: metrics, and what was measured, by name."""

    def arrays(self, step: int, measured: xr.Dataset) -> None:
        """What has a bin axis, by variable; dims (replica, parameter, ...)."""

    def alert(self, step: int, finding: Finding) -> None:
        """Something asks for attention."""

    def finish(self) -> None:
        """The run is over."""


Alert = Callable[[int, Finding], None]


class _Alerts:
    """A sink that hands findings to a function, and nothing else."""

    def __init__(self, function: Alert) -> None:
        self.alert = function

    def begin(self, run: RunDescription) -> None:
        pass

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def arrays(self, step: int, measured: xr.Dataset) -> None:
        pass

    def finish(self) -> None:
        pass


def as_sink(given: Sink | Alert) -> Sink:
    """A sink as it is, or a function of a step and a finding as one.

    Raises:
        SpecError: It is neither.
    """
    methods = ("begin", "scalars", "arrays", "alert", "finish")
    if not isinstance(given, type) and all(hasattr(given, one) for one in methods):
        return cast(Sink, given)
    if callable(given) and not isinstance(given, type):
        return _Alerts(given)
    raise SpecError(
        f"a sink is an object with {', '.join(methods)}, or a function of a step and "
        f"a finding, not {given!r}"
    )


def name_scalars(measured: xr.Dataset) -> dict[str, float]:
    """`distance/head.weight`, ...: the finite scalars of one replica, by name."""
    named = {}
    for name, variable in measured.data_vars.items():
        if variable.dims == ("replica", "parameter"):
            for parameter, value in zip(
                measured["parameter"].values, variable.values[0], strict=True
            ):
                if np.isfinite(value):
                    named[f"{name}/{parameter}"] = float(value)
    return named
