"""trackio, which keeps its numbers on this machine."""

from __future__ import annotations

from collections.abc import Mapping

import trackio
import xarray as xr

from birthmark.integrations.histograms import find_histograms
from birthmark.shapes import Finding
from birthmark.store import RunDescription

_MOST_BINS = 512  # of a histogram


class TrackioSink:
    """Logs into the run that `trackio.init` has made."""

    def begin(self, run: RunDescription) -> None:
        """See `Sink`."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `Sink`."""
        trackio.log(dict(values), step=step)

    def arrays(self, step: int, measured: xr.Dataset) -> None:
        """See `Sink`."""
        found = find_histograms(measured)
        drawn = {
            name: trackio.Histogram(np_histogram=(counts, edges))
            for name, (counts, edges) in found.items()
            if len(counts) <= _MOST_BINS
        }
        if drawn:
            trackio.log(drawn, step=step)

    def alert(self, step: int, finding: Finding) -> None:
        """See `Sink`."""
        levels = trackio.AlertLevel
        level = levels.ERROR if finding.level == "error" else levels.WARN
        text = f"step {step}: {finding.what}. {finding.advice}"
        trackio.alert(title=finding.name or "birthmark", text=text, level=level)

    def finish(self) -> None:
        """See `Sink`; the run stays yours to finish."""
