"""Weights & Biases, also offline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import wandb
import xarray as xr

from birthmark.integrations.histograms import find_histograms
from birthmark.shapes import Finding
from birthmark.store import RunDescription

STEP = "birthmark/step"  # the axis: wandb's own step belongs to your own calls


class WandbSink:
    """Logs into a run of wandb, by the optimizer's steps."""

    def __init__(self, run: Any = None) -> None:
        """Take a run; the one that `wandb.init` made last unless given."""
        self.run = run or wandb.run
        if self.run is None:
            raise ValueError("there is no run of wandb: call wandb.init() first")
        self._defined: set[str] = set()

    def begin(self, run: RunDescription) -> None:
        """See `Sink`."""
        self.run.define_metric(STEP)
        self.run.config.update({"birthmark/run": run.run_key}, allow_val_change=True)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `Sink`."""
        self._log(step, dict(values))

    def arrays(self, step: int, measured: xr.Dataset) -> None:
        """See `Sink`."""
        found = find_histograms(measured)
        self._log(step, {n: wandb.Histogram(np_histogram=h) for n, h in found.items()})

    def alert(self, step: int, finding: Finding) -> None:
        """See `Sink`."""
        level = "ERROR" if finding.level == "error" else "WARN"
        text = f"step {step}: {finding.what}. {finding.advice}"
        self.run.alert(title=finding.name or "birthmark", text=text, level=level)

    def finish(self) -> None:
        """See `Sink`; the run stays yours to finish."""

    def _log(self, step: int, values: dict[str, Any]) -> None:
        for name in values.keys() - self._defined:
            self.run.define_metric(name, step_metric=STEP)
            self._defined.add(name)
        if values:
            self.run.log({STEP: step, **values})
