"""The regimes along an axis and over the epochs: the regions of the phase diagram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from birthmark.analysis.axes import Value
from birthmark.analysis.columns import Column, transitions_of
from birthmark.analysis.regimes import REGIMES, Regimes, label_regimes
from birthmark.analysis.studies import Run
from birthmark.analysis.thresholds import Thresholds
from birthmark.shapes import Array


@dataclass(frozen=True)
class RegimeMap:
    """How many replicas at a value of the axis stand in each regime at an epoch."""

    values: tuple[Value, ...]  # [A]
    epochs: Array  # [T] those of the longest run
    counts: Array  # [A, T, 3] replicas, in the order of REGIMES

    @property
    def majority(self) -> Array:
        """The regime of the most replicas, the earlier of equals, [A, T]; -1: none."""
        none = self.counts.sum(axis=-1) == 0
        return np.where(none, -1, self.counts.argmax(axis=-1))


def map_regimes(columns: Sequence[Column]) -> RegimeMap:
    """Count the regimes of all replicas, over runs of one protocol.

    Raises:
        StoreError: A fact about the data is missing in the records.
    """
    labels = [
        (place, _label(run, column.thresholds))
        for place, column in enumerate(columns)
        for run in column.runs
    ]
    epochs = max((found.epochs for _, found in labels), key=len)
    counts = np.zeros((len(columns), len(epochs), len(REGIMES)), dtype=int)
    for place, found in labels:
        where = np.searchsorted(epochs, found.epochs)
        for regime in range(len(REGIMES)):
            counts[place, where, regime] += (found.regime == regime).sum(axis=1)
    return RegimeMap(tuple(column.value for column in columns), epochs, counts)


def _label(run: Run, thresholds: Thresholds) -> Regimes:
    found = transitions_of(run, thresholds)
    return label_regimes(run.records, run.spec, thresholds, found=found)
