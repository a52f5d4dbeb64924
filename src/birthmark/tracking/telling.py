"""Who is told of what a tracker records: the log, the sinks, and functions of users."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import xarray as xr

from birthmark.shapes import Finding
from birthmark.store import RunDescription
from birthmark.tracking.alarms import Alarms
from birthmark.tracking.sinks import Alert, Sink, as_sink, name_scalars

_log = logging.getLogger("birthmark")


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
