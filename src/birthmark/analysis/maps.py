"""The regimes over width and epoch: the regions of the phase diagram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from birthmark.analysis.regimes import REGIMES, label_regimes
from birthmark.analysis.studies import Study
from birthmark.analysis.thresholds import Thresholds
from birthmark.shapes import Array


@dataclass(frozen=True)
class RegimeMap:
    """How many replicas of a width stand in each regime at an epoch."""

    widths: tuple[int, ...]  # [W]
    epochs: Array  # [T] those of the longest run
    counts: Array  # [W, T, 3] replicas, in the order of REGIMES

    @property
    def majority(self) -> Array:
        """The regime of the most replicas, the earlier of equals, [W, T]; -1: none."""
        none = self.counts.sum(axis=-1) == 0
        return np.where(none, -1, self.counts.argmax(axis=-1))


def map_regimes(study: Study, thresholds: Thresholds | None = None) -> RegimeMap:
    """Count the regimes of all replicas, over runs of one protocol.

    Raises:
        StoreError: A fact about the data is missing in the records.
    """
    labels = [
        (place, label_regimes(run.records, run.spec, thresholds))
        for place, width in enumerate(study.widths)
        for run in study.at_width(width)
    ]
    epochs = max((found.epochs for _, found in labels), key=len)
    counts = np.zeros((len(study.widths), len(epochs), len(REGIMES)), dtype=int)
    for place, found in labels:
        where = np.searchsorted(epochs, found.epochs)
        for regime in range(len(REGIMES)):
            counts[place, where, regime] += (found.regime == regime).sum(axis=1)
    return RegimeMap(study.widths, epochs, counts)
