"""Rows that hardly move: the weights out of nearly silent units, and what they make.

A unit that is silent on nearly all examples gives its outgoing weights nearly no
gradient. Such rows stay at their start, and where there are some the distribution of
all weights has a peak there which the others do not have.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from birthmark.analysis import Run
from birthmark.shapes import Array
from birthmark.statistics import Estimate, summarize

STILL = 0.5  # of the bound: a row whose rms deviation is at most this is still
DENSITY_EDGES = np.array([0, 0.05, 0.1, 0.2, 0.3, 0.4])  # of |deviation|, of the bound
OUTER = 0.75  # of the bound: initial weights beyond are large


@dataclass(frozen=True)
class Without:
    """What the weights of one run are with and without its still rows."""

    loss: str  # in plain words
    width: int
    epoch: int
    still: tuple[int, ...]  # rows, by replica
    density: tuple[float, ...]  # of |deviation| near zero, all rows
    density_without: tuple[float, ...]
    growth: Estimate  # of large weights, of the bound, all rows
    growth_without: Estimate
    skewness: Estimate  # outward, of large weights
    skewness_without: Estimate


def find_still(initial_RIO: Array, current_RIO: Array, bound: float) -> Array:
    """Whether a row has moved by at most half of the bound, in rms, [R, I]."""
    square_RIO = np.square((current_RIO - initial_RIO) / bound)
    still: Array = np.sqrt(square_RIO.mean(axis=2)) <= STILL
    return still


def compare_without(
    loss: str, run: Run, epochs: list[int], weights: Callable[[Run, int], Array]
) -> list[Without]:
    """The weights between the hidden layers at each kept epoch after the start."""
    bound = float(run.records["bound"].sel(layer=run.layer))
    initial = np.asarray(weights(run, 0), dtype=float)
    return [
        _compare(
            (loss, run.width, epoch),
            initial / bound,
            np.asarray(weights(run, epoch), dtype=float) / bound,
        )
        for epoch in epochs
        if epoch > 0
    ]


def _compare(about: tuple[str, int, int], start: Array, now: Array) -> Without:
    still = find_still(start, now, 1.0)
    every = np.zeros_like(still)
    both = [
        [_outward(x[~out], y[~out]) for x, y, out in zip(start, now, left, strict=True)]
        for left in (every, still)
    ]
    growth, skewness = zip(*(zip(*rows, strict=True) for rows in both), strict=True)
    return Without(
        *about,
        still=tuple(int(n) for n in still.sum(axis=1)),
        density=_density(now - start),
        density_without=_density((now - start)[~still]),
        growth=summarize(growth[0]),
        growth_without=summarize(growth[1]),
        skewness=summarize(skewness[0]),
        skewness_without=summarize(skewness[1]),
    )


def _outward(start: Array, now: Array) -> tuple[float, float]:
    """Growth and outward skewness of the weights that start large."""
    large = np.abs(start) > OUTER
    outward = np.sign(start[large]) * (now - start)[large]
    return float(outward.mean()), float(stats.skew(outward))


def _density(deviation: Array) -> tuple[float, ...]:
    """Of the absolute deviation, per bound, in each of the bins."""
    counts, edges = np.histogram(np.abs(deviation), DENSITY_EDGES)
    return tuple(float(x) for x in counts / deviation.size / np.diff(edges))
