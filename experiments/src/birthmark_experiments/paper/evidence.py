"""A number over replicas against what it would be if a claim were empty."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from birthmark.analysis import Column, Run, Transitions
from birthmark.shapes import Array
from birthmark.statistics import Estimate, PowerLaw, summarize

CLIPPED, LOGITS = "clipped_cross_entropy", "cross_entropy"
LOSSES = {CLIPPED: "clipped loss", LOGITS: "loss from logits"}  # in plain words


@dataclass(frozen=True)
class Arm:
    """All replicas that were trained with one loss, over the widths."""

    loss: str  # as in a spec
    columns: list[Column]

    @property
    def name(self) -> str:
        """The loss in plain words."""
        return LOSSES[self.loss]

    @property
    def num_replicas(self) -> int:
        """Of all widths together."""
        return sum(column.num_replicas for column in self.columns)

    def each(self, function: Callable[[Run, Transitions, int], float]) -> Array:
        """A number for each replica: of its run, transitions and place in the stack."""
        return np.array(
            [
                function(run, transitions, place)
                for column in self.columns
                for run, transitions in zip(
                    column.runs, column.transitions, strict=True
                )
                for place in range(len(transitions.min_train_loss))
            ]
        )

    @property
    def learners(self) -> Array:
        """What each replica is, in the order of `each`."""
        return np.concatenate([column.learners for column in self.columns])


@dataclass(frozen=True)
class Evidence:
    """A mean over replicas, or an exponent, with its interval and its null value."""

    name: str  # plain words
    arm: str  # of which replicas
    value: float
    low: float  # 95 %; NaN: too few replicas
    high: float
    n: int
    null: float
    effect: float  # (mean - null) / std over replicas; of an exponent: itself
    p: float  # two-sided, Student's t; NaN for an exponent: its interval is a bootstrap

    @property
    def side(self) -> int:
        """1 or -1 where the whole interval lies on one side of the null value, or 0."""
        if self.low > self.null:
            return 1
        return -1 if self.high < self.null else 0


def weigh(name: str, arm: str, values: Array, null: float) -> Evidence:
    """The mean of values against a null value, by Student's t.

    Where all values are equal, t does not exist: p is that of the exact sign test.
    """
    x = values[np.isfinite(values)]
    found: Estimate = summarize(x)
    n, std = len(x), float(x.std(ddof=1)) if len(x) > 1 else math.nan
    if std > 0:
        effect = (found.mean - null) / std
        p = float(2 * stats.t.sf(abs(effect) * math.sqrt(n), n - 1))
    else:
        effect = math.nan
        p = math.nan if n < 2 else 1.0 if found.mean == null else 2.0 ** (1 - n)
    return Evidence(name, arm, found.mean, found.low, found.high, n, null, effect, p)


def weigh_share(name: str, arm: str, flags: Array) -> Evidence:
    """The share of replicas with a property; exact interval (Clopper-Pearson)."""
    k, n = int(flags.sum()), len(flags)
    low, high = math.nan, math.nan
    if n:
        span = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
        low, high = float(span.low), float(span.high)
    share = k / n if n else math.nan
    return Evidence(name, arm, share, low, high, n, 0.0, math.nan, math.nan)


def weigh_exponent(name: str, arm: str, law: PowerLaw) -> Evidence:
    """The exponent of a fall with width against 0."""
    return Evidence(
        name, arm, law.exponent, law.low, law.high, law.n, 0.0, law.exponent, math.nan
    )
