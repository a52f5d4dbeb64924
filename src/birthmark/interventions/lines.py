"""The straight line between two configurations of one network, and its barrier.

Goodfellow, Vinyals & Saxe, arXiv 1412.6544; the barrier as in Frankle et al., arXiv
1912.05671: how far the loss rises above the straight line between its two ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from birthmark.errors import WeightsError
from birthmark.interventions.models import Bench, Evaluate
from birthmark.interventions.rewinding import shuffle
from birthmark.interventions.texts import Result, Table
from birthmark.measurements import Source
from birthmark.shapes import Array

HEADER = ["share of the way", "value", "above the line of its ends", "random way"]


@dataclass(frozen=True)
class Line(Result):
    """An evaluation at points (1 - alpha) start + alpha end."""

    alphas: Array  # [A], rising, from 0 to 1
    values: Array  # [A]
    random: Array  # [A]: from the same start by the same moves, made by other weights
    notes: tuple[str, ...] = ()

    @property
    def excess(self) -> Array:
        """Above the straight line between the values at both ends, [A]."""
        between = (self.alphas - self.alphas[0]) / (self.alphas[-1] - self.alphas[0])
        ends = self.values[0] + between * (self.values[-1] - self.values[0])
        found: Array = self.values - ends
        return found

    @property
    def barrier(self) -> float:
        """The largest excess; 0 where there is none, NaN where a value is NaN."""
        return float(np.max(self.excess))

    @property
    def is_monotone(self) -> bool:
        """Whether the value never rises on the way."""
        return bool((np.diff(self.values) <= 0).all())

    @property
    def headline(self) -> str:
        """How high the barrier is, and where."""
        first, last = float(self.values[0]), float(self.values[-1])
        where = float(self.alphas[int(np.argmax(self.excess))])
        way = f"from {first:.3g} to {last:.3g}"
        nowhere = f"; a random way of the same moves ends at {self.random[-1]:.3g}."
        if self.is_monotone:
            return f"Downhill all the way, {way}{nowhere}"
        if not self.barrier > 1e-9 * max(abs(first), abs(last)):
            return f"No barrier {way}, though it is not downhill all the way{nowhere}"
        return (
            f"A barrier of {self.barrier:.3g} {way}, highest at {where:.2f} of the way"
            f"{nowhere}"
        )

    def table(self) -> Table:
        """One line a point."""
        columns = zip(self.alphas, self.values, self.excess, self.random, strict=True)
        return HEADER, [
            [f"{alpha:.3g}", f"{value:.4g}", f"{excess:+.3g}", f"{other:.4g}"]
            for alpha, value, excess, other in columns
        ]


def interpolate(
    model: nn.Module,
    start: Source,
    evaluate: Evaluate,
    *,
    points: int | Sequence[float] = 11,
    batches: Iterable[Any] | None = None,
    seed: int = 0,
) -> Line:
    """Evaluate on the straight line from some weights to those of the model.

    Args:
        model: It stands at the end of the line, and ends as it was given.
        start: Where the line begins: the initial weights, or another solution.
        evaluate: Takes the model and gives a number, the smaller the better.
        points: How many at equal distances, or their places; 0 is the start, 1 the
            model, and beyond lies further on.
        batches: Inputs to compute the running statistics of batch norms from at each
            point, without which a barrier may be theirs alone (Jordan et al., arXiv
            2211.08403).
        seed: Of the random way.

    Raises:
        WeightsError: The start is of another architecture, or the points do not rise.
    """
    alphas = np.linspace(0, 1, points) if isinstance(points, int) else np.array(points)
    if alphas.ndim != 1 or len(alphas) < 2 or not (np.diff(alphas) > 0).all():
        raise WeightsError(f"points of a line must rise, two at least, not {points}")
    bench = Bench(model, evaluate, batches)
    before = bench.match(start, "the start")
    generator = torch.Generator().manual_seed(seed)
    moves = {n: bench.end[n].values - one.values for n, one in before.items()}
    others = {n: shuffle(move, generator) for n, move in moves.items()}
    values, random = (
        [
            bench.try_at({n: one.values + alpha * way[n] for n, one in before.items()})
            for alpha in alphas.tolist()
        ]
        for way in (moves, others)
    )
    return Line(alphas, np.array(values), np.array(random), bench.notes)
