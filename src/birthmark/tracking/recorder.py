"""The recorder: what was asked for is measured when it is due, and handed on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from birthmark.measurements import MEASUREMENTS, measure
from birthmark.shapes import Array, EpochMetrics, StepMetrics
from birthmark.store import RunFolder
from birthmark.tracking.paths import Configuration, PathLengths
from birthmark.tracking.schedules import Schedule


class Recorder:
    """Measures weights against those at the start, and hands all to a run's folder.

    It carries what spans two records: the weights at the last one and the length of
    the path so far. A checkpoint needs both.
    """

    def __init__(
        self,
        run: RunFolder,
        initial: Configuration,
        schedule: Schedule,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin with the initial configuration, which is only read.

        Args:
            run: Where records go.
            initial: It must stay as it is.
            schedule: When to measure, in the clock of the run.
            facts: Keyword arguments of `measure` that stay the same: mark, bounds, ...
        """
        self._run, self._initial, self._schedule = run, initial, schedule
        self._facts = dict(facts or {})
        self._path = PathLengths(initial)

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
        number = metrics.epoch if isinstance(metrics, EpochMetrics) else metrics.step
        self._run.append_metrics(metrics)
        kind = self._schedule.due(number)
        if kind is None:
            return None
        if kind != "distributions":
            is_start = metrics.step == 0
            self._path.extend(current, is_start=is_start)
        path = self._path.lengths
        found = measure(self._initial, current, path=path, kind=kind, **self._facts)
        scalars, distributions = split_kinds(found)
        self._run.append_measurements(
            number,
            metrics.step,
            None if kind == "distributions" else scalars,
            None if kind == "scalars" else distributions,
        )
        return found

    def state_dict(self) -> dict[str, Array]:
        """Arrays from which `load_state_dict` goes on; those of now, until `record`."""
        return self._path.state_dict()

    def load_state_dict(self, arrays: Mapping[str, Array]) -> None:
        """Stand where `state_dict` was taken; other arrays are left alone."""
        self._path.load_state_dict(arrays)


def split_kinds(found: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """The scalars of what was measured, and the rest."""
    names = [str(name) for name in found.data_vars]
    scalars = [
        name
        for name in names
        if (known := MEASUREMENTS.get(name.removeprefix("bias_"))) is not None
        and known.kind == "scalar"
    ]
    return found[scalars], found.drop_vars(scalars)
