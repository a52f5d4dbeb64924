"""Trainability by width: the three transition epochs, the minima, the learners."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from birthmark.analysis.columns import read_columns
from birthmark.analysis.regimes import LEARNERS
from birthmark.analysis.studies import Study
from birthmark.analysis.thresholds import Thresholds
from birthmark.shapes import Array
from birthmark.statistics import Estimate, summarize


@dataclass(frozen=True)
class PhaseDiagram:
    """The phase diagram of one protocol (2012.02550, Figures 2c and 2d).

    Each estimate of an epoch is over the replicas in which the transition was seen
    (its `n`, of `replicas`): where few were, the mean speaks of those alone.
    """

    widths: tuple[int, ...]  # [W]
    last_epochs: tuple[int, ...]  # [W] how far the longest run of a width went
    replicas: Array  # [W]
    min_train_epoch: tuple[Estimate, ...]  # [W]
    min_test_epoch: tuple[Estimate, ...]  # [W]
    divergence_epoch: tuple[Estimate, ...]  # [W]
    min_train_loss: tuple[Estimate, ...]  # [W]
    min_test_loss: tuple[Estimate, ...]  # [W]
    train_still_falling: Array  # [W] replicas without a minimum of the train loss yet
    learners: Array  # [W, 4] share of replicas, in the order of LEARNERS


def phase_diagram(study: Study, thresholds: Thresholds | None = None) -> PhaseDiagram:
    """Transitions, minima and learners against width, over runs of one protocol."""
    columns = read_columns(study, thresholds or Thresholds())

    def estimates(name: str) -> tuple[Estimate, ...]:
        return tuple(summarize(column.joined(name)) for column in columns)

    return PhaseDiagram(
        widths=study.widths,
        last_epochs=tuple(
            max(one.last_epoch for one in column.transitions) for column in columns
        ),
        replicas=np.array([column.num_replicas for column in columns], dtype=int),
        min_train_epoch=estimates("min_train_epoch"),
        min_test_epoch=estimates("min_test_epoch"),
        divergence_epoch=estimates("divergence_epoch"),
        min_train_loss=estimates("min_train_loss"),
        min_test_loss=estimates("min_test_loss"),
        train_still_falling=np.array(
            [column.joined("train_still_falling").sum() for column in columns],
            dtype=int,
        ),
        learners=np.array(
            [
                [np.mean(column.learners == one) for one in LEARNERS]
                for column in columns
            ]
        ).reshape(len(columns), len(LEARNERS)),
    )
