"""TensorBoard: scalars, histograms of the weights from counts, alerts as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr
from torch.utils.tensorboard import SummaryWriter

from birthmark.integrations.histograms import find_histograms
from birthmark.shapes import Finding
from birthmark.store import RunDescription


class TensorBoardSink:
    """Writes what a tracker records beside what you write yourself."""

    def __init__(self, writer: SummaryWriter | str | Path) -> None:
        """Take a writer, which stays yours to close, or make one for a folder."""
        self._own = not isinstance(writer, SummaryWriter)
        self.writer = (
            writer if isinstance(writer, SummaryWriter) else SummaryWriter(str(writer))
        )

    def begin(self, run: RunDescription) -> None:
        """See `Sink`."""
        self.writer.add_text("birthmark/run", f"{run.name} {run.run_key}")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `Sink`."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def arrays(self, step: int, measured: xr.Dataset) -> None:
        """See `Sink`; the values themselves never leave the device."""
        for name, (counts, edges) in find_histograms(measured).items():
            centres = (edges[1:] + edges[:-1]) / 2
            self.writer.add_histogram_raw(
                name,
                min=float(edges[0]),
                max=float(edges[-1]),
                num=int(counts.sum()),
                sum=float(counts @ centres),
                sum_squares=float(counts @ np.square(centres)),
                bucket_limits=edges[1:].tolist(),
                bucket_counts=counts.tolist(),
                global_step=step,
            )

    def alert(self, step: int, finding: Finding) -> None:
        """See `Sink`."""
        text = f"**{finding.level}**: {finding.what}. {finding.advice}"
        self.writer.add_text("birthmark/alerts", text, step)

    def finish(self) -> None:
        """See `Sink`."""
        self.writer.flush()
        if self._own:
            self.writer.close()
