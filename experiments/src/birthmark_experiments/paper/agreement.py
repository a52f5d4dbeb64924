"""Our numbers beside the published ones, in units of both errors together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from birthmark.analysis import FIGURE_2, QUANTITIES, Column, Published, Thresholds
from birthmark.shapes import Array
from birthmark.statistics import Estimate, summarize
from birthmark_experiments.paper.divergences import find_divergences


@dataclass(frozen=True)
class Agreement:
    """One number of one width, ours and published."""

    width: int
    name: str  # plain words
    ours: Estimate
    error: float  # standard error of ours; NaN for a single replica
    replicas: int  # of the width; `ours.n` of them have a value
    published: float  # inf: beyond the last epoch; NaN: none, or not drawn
    published_error: float

    @property
    def ratio(self) -> float:
        """Ours over the published one."""
        return self.ours.mean / self.published

    @property
    def difference(self) -> float:
        """Ours minus the published one."""
        return self.ours.mean - self.published

    @property
    def in_errors(self) -> float:
        """The difference over the root of the sum of both squared errors."""
        return self.difference / math.hypot(self.error, self.published_error)

    def is_within(self, share: float) -> bool:
        """Whether both are known, and ours is off by at most this share."""
        return math.isfinite(self.ratio) and abs(self.ratio - 1) <= share


def compare_with_paper(columns: list[Column]) -> list[Agreement]:
    """Each number of Figures 2c and 2d at each width that both have.

    Args:
        columns: Of runs that follow the paper, from `read_columns`.
    """
    return [
        _agree(column, published, words, name, column.joined(name))
        for column, published in _both(columns)
        for name, words in QUANTITIES.items()
    ]


def compare_divergences(
    columns: list[Column], thresholds: Thresholds | None = None
) -> list[Agreement]:
    """The published epoch of divergence beside ours, under each definition of it.

    Raises:
        StoreError: A fact about the data is missing in the records.
    """
    found = []
    for column, published in _both(columns):
        by_name: dict[str, list[Array]] = {}
        for run in column.runs:
            for one in find_divergences(run.records, run.spec, thresholds):
                by_name.setdefault(one.name, []).append(one.epoch)
        found += [
            _agree(column, published, words, "divergence_epoch", np.concatenate(epochs))
            for words, epochs in by_name.items()
        ]
    return found


def _both(columns: list[Column]) -> list[tuple[Column, Published]]:
    published = {one.width: one for one in FIGURE_2}
    return [(one, published[one.width]) for one in columns if one.width in published]


def _agree(
    column: Column, published: Published, words: str, name: str, values: Array
) -> Agreement:
    known = values[np.isfinite(values)]
    n = len(known)
    return Agreement(
        width=column.width,
        name=words,
        ours=summarize(values),
        error=float(known.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan,
        replicas=column.num_replicas,
        published=float(getattr(published, name)),
        published_error=published.error(name),
    )
