"""MLflow: metrics by step, arrays and alerts as artifacts."""

from __future__ import annotations

import re
from collections.abc import Mapping

import mlflow
import xarray as xr

from birthmark.integrations.histograms import find_histograms
from birthmark.shapes import Finding
from birthmark.store import RunDescription


class MlflowSink:
    """Logs into the active run of MLflow, or the one whose id is given."""

    def __init__(self, run_id: str | None = None) -> None:
        self.run_id = run_id
        self._alerts: list[str] = []

    def begin(self, run: RunDescription) -> None:
        """See `Sink`."""
        mlflow.MlflowClient().set_tag(self._run(), "birthmark.run", run.run_key)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `Sink`; what MLflow allows in no name becomes an underscore."""
        named = {re.sub(r"[^\w\-./ ]", "_", n): v for n, v in values.items()}
        mlflow.log_metrics(named, step=step, run_id=self._run())

    def arrays(self, step: int, measured: xr.Dataset) -> None:
        """See `Sink`."""
        found = {
            name: {"counts": counts.tolist(), "edges": edges.tolist()}
            for name, (counts, edges) in find_histograms(measured).items()
        }
        if found:
            path = f"birthmark/histograms-{step:09}.json"
            mlflow.MlflowClient().log_dict(self._run(), found, path)

    def alert(self, step: int, finding: Finding) -> None:
        """See `Sink`."""
        self._alerts.append(f"step {step}: {finding.level}: {finding.what}")
        text = "\n".join(self._alerts)
        mlflow.MlflowClient().log_text(self._run(), text, "birthmark/alerts.txt")

    def finish(self) -> None:
        """See `Sink`; the run stays yours to end."""

    def _run(self) -> str:
        if self.run_id is None:
            active = mlflow.active_run()
            if active is None:
                raise RuntimeError("there is no active run: call mlflow.start_run()")
            self.run_id = active.info.run_id
        return self.run_id
