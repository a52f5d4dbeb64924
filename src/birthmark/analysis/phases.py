"""Trainability along an axis: three transition epochs, the minima, the learners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from birthmark.analysis.axes import Value
from birthmark.analysis.columns import Column
from birthmark.analysis.regimes import LEARNERS
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
