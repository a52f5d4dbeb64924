"""All replicas at one value of an axis: what phase diagram and findings stand on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from birthmark.analysis.axes import Value
from birthmark.analysis.endings import lost_since
from birthmark.analysis.regimes import classify_learners
from birthmark.analysis.studies import Run, Study
from birthmark.analysis.thresholds import Thresholds
from birthmark.analysis.transitions import Transitions, find_transitions
from birthmark.shapes import Array


@dataclass(frozen=True, eq=False)
class Column:
    """The replicas of all runs at one value of an axis, one after the other."""

    value: Value
    runs: tuple[Run, ...]
    thresholds: Thresholds

    @cached_property
    def transitions(self) -> tuple[Transitions, ...]:
        """Of each run, found once whoever asks.

        Raises:
            StoreError: A fact about the data is missing in the records.
        """
        return tuple(transitions_of(run, self.thresholds) for run in self.runs)

    @cached_property
    def learners(self) -> Array:
        """What each replica is, [R] of the names in LEARNERS."""
        found = (classify_learners(one, self.thresholds) for one in self.transitions)
        return np.concatenate(list(found))

    @property
    def width(self) -> int:
        """Units of the last hidden layer."""
        return self.runs[0].width

    @property
    def layer(self) -> str:
        """The matrix into the last hidden layer."""
        return self.runs[0].layer

    @property
    def num_replicas(self) -> int:
        """Replicas of all runs, R."""
        return sum(run.num_replicas for run in self.runs)

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

        NaN where it was not recorded at all. A replica that NaN or Inf has stopped has
        no loss and no accuracy at the end, though its weights are known.
        """
        return np.concatenate([_final(run, name, layer) for run in self.runs])


def read_columns(study: Study, thresholds: Thresholds | None = None) -> list[Column]:
    """The columns of a study along its axis."""
    lines = thresholds or Thresholds()
    return [Column(value, tuple(study.at(value)), lines) for value in study.axis.values]


def transitions_of(run: Run, thresholds: Thresholds) -> Transitions:
    """The transitions of a run, found when they are first asked for.

    Raises:
        StoreError: A fact about the data is missing in the records.
    """
    return run.remember(
        ("transitions", thresholds),
        lambda: find_transitions(run.arrays, run.spec, thresholds),
    )


def _final(run: Run, name: str, layer: str | None) -> Array:
    values_TR = run.values(name, layer)
    recorded = np.flatnonzero(np.isfinite(values_TR).any(axis=1))
    if not len(recorded):
        return np.full(values_TR.shape[1], np.nan)
    last_R = np.asarray(values_TR[recorded[-1]])
    if layer:
        return last_R
    is_lost = np.isfinite(lost_since(run.epochs, values_TR)) | _has_stopped(run)
    return np.where(is_lost, np.nan, last_R)


def _has_stopped(run: Run) -> Array:
    """Which replicas have met NaN or Inf, of which there is no loss any more, [R]."""
    if "nonfinite_step" in run.arrays:
        return np.asarray(run.arrays["nonfinite_step"].to_numpy() >= 0)
    if "nonfinite_count" in run.arrays:  # in a loop of a user's own, by layer
        counts = run.arrays["nonfinite_count"].transpose("step", "replica", "layer")
        return np.asarray((counts.to_numpy()[-1] > 0).any(axis=-1))
    return np.zeros(run.num_replicas, dtype=bool)
