"""All replicas of one width: what the phase diagram and the findings stand on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from birthmark.analysis.regimes import classify_learners
from birthmark.analysis.studies import Run, Study
from birthmark.analysis.thresholds import Thresholds
from birthmark.analysis.transitions import Transitions, find_transitions
from birthmark.shapes import Array


@dataclass(frozen=True)
class Column:
    """The replicas of all runs of one width, one after the other."""

    width: int
    runs: tuple[Run, ...]
    transitions: tuple[Transitions, ...]  # of each run
    learners: Array  # [R] names

    @property
    def layer(self) -> str:
        """The matrix into the last hidden layer."""
        return self.runs[0].layer

    @property
    def num_replicas(self) -> int:
        """Replicas of all runs, R."""
        return len(self.learners)

    @property
    def majority(self) -> str:
        """The learner that more than half of the replicas are, or ''."""
        names, counts = np.unique(self.learners, return_counts=True)
        most = counts.argmax()
        return str(names[most]) if 2 * counts[most] > len(self.learners) else ""

    def joined(self, name: str) -> Array:
        """A transition (a field of `Transitions`) of every replica, [R]."""
        return np.concatenate([getattr(one, name) for one in self.transitions])

    def final(self, name: str, layer: str | None = None) -> Array:
        """A variable at the last epoch at which its run recorded it, [R].

        NaN where it was not recorded at all, or the replica was frozen before.
        """
        return np.concatenate([_last(run.values(name, layer)) for run in self.runs])


def read_columns(study: Study, thresholds: Thresholds) -> list[Column]:
    """The columns of a study by rising width.

    Raises:
        StoreError: A fact about the data is missing in the records.
    """
    columns = []
    for width in study.widths:
        runs = study.at_width(width)
        found = [find_transitions(run.records, run.spec, thresholds) for run in runs]
        learners = [classify_learners(one, thresholds) for one in found]
        columns.append(
            Column(width, tuple(runs), tuple(found), np.concatenate(learners))
        )
    return columns


def _last(values_TR: Array) -> Array:
    recorded = np.flatnonzero(np.isfinite(values_TR).any(axis=1))
    if not len(recorded):
        return np.full(values_TR.shape[1], np.nan)
    return np.asarray(values_TR[recorded[-1]])
