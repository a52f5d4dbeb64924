"""Who is told of what a tracker records: one protocol, the same names everywhere.

A sink is any object with these methods; the front end of a logging service, a page, a
list in a test. Names are `distance/NAME`, `correlation/NAME`, ... for what is measured
of the tensor NAME, and those of `Tracker.log` for the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
import xarray as xr

from birthmark.errors import SpecError
from birthmark.shapes import Finding
from birthmark.store import RunDescription
from birthmark.tracking.alarms import Alarms

_log = logging.getLogger("birthmark")


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


class Telling:
    """Hands on numbers and findings, and raises the alarms among them.

    Attributes:
        alarms: That were raised so far.
    """

    def __init__(self, name: str, sinks: Iterable[Sink | Alert]) -> None:
        """Take who is told.

        Args:
            name: Of the run, as the log says it.
            sinks: Or functions of a step and a finding, that are told of these alone.
        """
        self._name, self._sinks = name, [as_sink(one) for one in sinks]
        self.alarms = Alarms()

    def begin(self, run: RunDescription) -> None:
        """The run, before its first record or when it goes on."""
        for sink in self._sinks:
            self._tell(sink.begin, run)

    def noted(self, step: int, values: Mapping[str, float]) -> None:
        """What a loop has logged at a step."""
        self.alarms.note(values)
        for sink in self._sinks if values else ():
            self._tell(sink.scalars, step, values)

    def measured(
        self,
        step: int,
        found: xr.Dataset,
        news: Sequence[Finding],
        *,
        is_logged: bool,
    ) -> None:
        """A record, what is new in it, and the alarms that it raises."""
        findings = [*news]
        if {"distance", "nonfinite_count"} <= set(found.data_vars):
            findings += self.alarms.measured(step, found)
        for finding in findings:
            if is_logged and finding.level in ("warning", "error"):
                _log.warning("%s: %s", self._name, finding.what)
        named = name_scalars(found) if self._sinks else {}
        arrays = found[[n for n, one in found.data_vars.items() if one.ndim > 2]]
        for sink in self._sinks:
            self._tell(sink.scalars, step, named)
            if arrays.data_vars:
                self._tell(sink.arrays, step, arrays)
            for finding in findings:
                self._tell(sink.alert, step, finding)

    def finish(self) -> None:
        """The run is over."""
        for sink in self._sinks:
            self._tell(sink.finish)

    def _tell(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            function(*arguments)
        except Exception as error:
            _log.warning("a sink of %r failed: %s", self._name, error)
