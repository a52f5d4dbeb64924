"""The phase diagram along an axis: transitions, minima, learners, and its regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from birthmark.analysis.axes import Value
from birthmark.analysis.columns import Column, transitions_of
from birthmark.analysis.regimes import LEARNERS, REGIMES, Regimes, label_regimes
from birthmark.analysis.studies import Run
from birthmark.analysis.thresholds import Thresholds
from birthmark.shapes import Array
from birthmark.statistics import Curve, summarize_curves


@dataclass(frozen=True)
class PhaseDiagram:
    """The phase diagram of one protocol (2012.02550, Figures 2c and 2d).

    Means are geometric and their intervals those of logarithms, since epochs and losses
    go over decades. Each estimate of an epoch is over the replicas in which the
    transition was seen (its `n`, of `replicas`): where some were watched in vain, the
    mean of the others is too early. An epoch before the first counts as the first.
    """

    values: tuple[Value, ...]  # [A] of the axis
    replicas: Array  # [A]
    min_train_epoch: tuple[Curve, ...]  # [A]
    min_test_epoch: tuple[Curve, ...]  # [A]
    divergence_epoch: tuple[Curve, ...]  # [A]
    min_train_loss: tuple[Curve, ...]  # [A]
    min_test_loss: tuple[Curve, ...]  # [A]
    learners: Array  # [A, 4] share of replicas, in the order of LEARNERS


def phase_diagram(columns: Sequence[Column]) -> PhaseDiagram:
    """Transitions, minima and learners along the axis, over runs of one protocol."""

    def estimates(name: str) -> tuple[Curve, ...]:
        least = 1 if name.endswith("epoch") else 0
        return tuple(
            summarize_curves(np.maximum(column.joined(name), least), "log")
            for column in columns
        )

    return PhaseDiagram(
        values=tuple(column.value for column in columns),
        replicas=np.array([column.num_replicas for column in columns], dtype=int),
        min_train_epoch=estimates("min_train_epoch"),
        min_test_epoch=estimates("min_test_epoch"),
        divergence_epoch=estimates("divergence_epoch"),
        min_train_loss=estimates("min_train_loss"),
        min_test_loss=estimates("min_test_loss"),
        learners=np.array(
            [
                [np.mean(column.learners == one) for one in LEARNERS]
                for column in columns
            ]
        ).reshape(len(columns), len(LEARNERS)),
    )


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
    return label_regimes(run.arrays, run.spec, thresholds, found=found)
