"""The recorder: what was asked for is measured when it is due, and handed on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import xarray as xr

from birthmark.measurements import MEASUREMENTS, measure
from birthmark.shapes import Array, EpochMetrics, StepMetrics
from birthmark.store import RunFolder
from birthmark.tracking.path_lengths import Configuration, PathLengths
from birthmark.tracking.schedules import Schedule, What


class View(Protocol):
    """How weights are seen beside those at the start, where not all of them are."""

    def see(self, current: Any) -> Configuration:
        """What of the weights is measured."""

    def complete(self, found: xr.Dataset) -> xr.Dataset:
        """What was measured of them, as if it had been measured of all."""


class Recorder:
    """Measures weights against those at the start, and hands all to a run's folder.

    It carries what spans two records: the weights at the last one and the length of
    the path so far. A checkpoint needs both.
    """

    def __init__(
        self,
        run: RunFolder | None,
        initial: Configuration,
        schedule: Schedule,
        facts: Mapping[str, Any] | None = None,
        *,
        path: PathLengths | None = None,
        view: View | None = None,
    ) -> None:
        """Begin with the initial configuration, which is only read.

        Args:
            run: Where records go; None for who takes them from `measure`.
            initial: It must stay as it is.
            schedule: When to measure, in the clock of the run.
            facts: Keyword arguments of `measure` that stay the same: mark, bounds, ...
            path: The length of the way, if it is not of all weights.
            view: How to see the weights, if they are not measured as they are.
        """
        self._run, self._initial, self._schedule = run, initial, schedule
        self._facts = dict(facts or {})
        self._path = PathLengths(initial) if path is None else path
        self._view = view

    def record(
        self, metrics: EpochMetrics | StepMetrics, current: Configuration
    ) -> xr.Dataset | None:
        """Take the metrics of an epoch or a step, and measure if that is due.

        Args:
            metrics: Of a number of the clock that comes after all before.
            current: The weights now; they are only read, and only if something is due.

        Returns:
            What was measured, None where nothing was due.
        """
        found = self.measure(_number(metrics), current, is_start=metrics.step == 0)
        self.store(metrics, found)
        return found

    def measure(
        self,
        number: int,
        current: Configuration,
        *,
        is_start: bool,
        instead: What | None = None,
        **facts: Any,
    ) -> xr.Dataset | None:
        """Go on to these weights and measure them, if that is due; `store` it later.

        Args:
            number: Of the clock.
            current: The weights now.
            is_start: Whether they are the initial ones.
            instead: What to measure where nothing is due.
            **facts: Keyword arguments of `measure` that are of this record alone.
        """
        kind = self._schedule.due(number) or instead
        if kind is None:
            return None
        if kind != "distributions":
            self._path.extend(current, is_start=is_start)
        return self.look(current, kind, **facts)

    def look(self, current: Configuration, kind: What, **facts: Any) -> xr.Dataset:
        """Measure these weights as those of a record, with other facts if need be."""
        path = self._path.lengths or None
        seen = current if self._view is None else self._view.see(current)
        found = measure(
            self._initial, seen, path=path, kind=kind, **{**self._facts, **facts}
        )
        return found if self._view is None else self._view.complete(found)

    def store(
        self, metrics: EpochMetrics | StepMetrics, found: xr.Dataset | None
    ) -> None:
        """Hand on the metrics of a number of the clock, and what was measured there."""
        assert self._run is not None, "a recorder without a run stores nothing"
        number = _number(metrics)
        self._run.append_metrics(metrics)
        if found is None:
            return
        scalars, distributions = split_kinds(found)
        self._run.append_measurements(
            number,
            metrics.step,
            scalars if scalars.data_vars else None,
            distributions if distributions.data_vars else None,
        )

    def state_dict(self) -> dict[str, Array]:
        """Arrays from which `load_state_dict` goes on; those of now, until `record`."""
        tensors = self._path.state_dict()
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}

    def load_state_dict(self, arrays: Mapping[str, Any]) -> None:
        """Stand where `state_dict` was taken; other arrays are left alone."""
        self._path.load_state_dict(arrays)


def _number(metrics: EpochMetrics | StepMetrics) -> int:
    return metrics.epoch if isinstance(metrics, EpochMetrics) else metrics.step


def split_kinds(found: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """The scalars of what was measured, and the rest."""
    coords = set(found.coords)  # arrays of `data_vars` are made anew at each look
    scalars = [
        str(name)
        for name, variable in found.variables.items()
        if name not in coords and "replica" in variable.dims and _is_scalar(str(name))
    ]
    return found[scalars], found.drop_vars(scalars)


def _is_scalar(name: str) -> bool:
    known = MEASUREMENTS.get(name.removeprefix("bias_"))
    return known is None or known.kind == "scalar"
