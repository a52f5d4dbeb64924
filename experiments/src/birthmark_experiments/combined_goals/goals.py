"""What a start should achieve, as numbers read before the first step, and their limits.

The limits were set before anything was trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from birthmark.shapes import OUTPUT, Array

if TYPE_CHECKING:
    from birthmark.checkup import CheckUp

_HALF = math.sqrt(2)  # half, on a log scale, of the 2 that a rectifier costs


@dataclass(frozen=True)
class Goal:
    """A number of a check-up that should lie between two limits."""

    name: str
    title: str
    what: str  # the number, in words
    low: float
    high: float
    read: Callable[[CheckUp], float]  # NaN where there is no such number

    def is_met(self, reading: Array) -> Array:
        """Where the readings lie within the limits, which count as within; NaN: no."""
        return np.asarray((reading >= self.low) & (reading <= self.high))


def read_forward(checkup: CheckUp) -> float:
    """The factor a layer on the signal's second moment, from inputs to last hidden."""
    first, last = checkup.layers[0], checkup.layers[-1]
    depth = len(checkup.layers) - 1
    return _rate(last.input, first.input, depth)


def read_backward(checkup: CheckUp) -> float:
    """The factor a layer on the gradient's second moment, last hidden to first."""
    hidden = [layer for layer in checkup.layers if layer.name != OUTPUT]
    return _rate(hidden[0].backward, hidden[-1].backward, len(hidden) - 1)


def read_distinct(checkup: CheckUp) -> float:
    """Units that differ in weights or gradient, over units, in the worst layer."""
    return min(
        (tensor.distinct_jointly or 0) / tensor.num_units
        for tensor in checkup.tensors
        if tensor.role == "weight" and tensor.num_units and tensor.layer != OUTPUT
    )


def read_dead(checkup: CheckUp) -> float:
    """Share of hidden units that are silent on all examples, in the worst layer."""
    shares = [layer.dead for layer in checkup.layers if layer.name != OUTPUT]
    return max(math.nan if share is None else share for share in shares)


def read_gap(checkup: CheckUp) -> float:
    """1 - the cosine of two inputs' pre-activations in the last hidden layer."""
    correlation = checkup.layers[-2].correlation
    return math.nan if correlation is None else 1 - correlation


def read_loss(checkup: CheckUp) -> float:
    """The loss over that of a guess, ln C."""
    outcome = checkup.outcome
    if outcome is None or outcome.loss is None or outcome.num_classes is None:
        return math.nan
    return outcome.loss / math.log(outcome.num_classes)


def _rate(after: float | None, before: float | None, layers: int) -> float:
    """The geometric mean of the factors of so many layers."""
    if not after or not before or not math.isfinite(after / before):
        return math.nan
    return float((after / before) ** (1 / layers))


GOALS = (
    Goal(
        "forward",
        "keeps forward variance",
        "factor a layer on the second moment of the signal",
        1 / _HALF,
        _HALF,
        read_forward,
    ),
    Goal(
        "backward",
        "keeps backward variance",
        "factor a layer on the second moment of the gradient",
        1 / _HALF,
        _HALF,
        read_backward,
    ),
    Goal(
        "distinct",
        "no duplicate units",
        "distinct units over units, in the worst hidden layer",
        1.0,
        1.0,
        read_distinct,
    ),
    Goal(
        "alive",
        "no dead units",
        "share of silent units, in the worst hidden layer",
        0.0,
        0.1,
        read_dead,
    ),
    Goal(
        "apart",
        "keeps inputs apart",
        "1 - cosine of two inputs in the last hidden layer",
        0.1,
        2.0,
        read_gap,
    ),
    Goal(
        "loss",
        "starts at the loss of a guess",
        "loss over ln C",
        0.9,
        1.1,
        read_loss,
    ),
)
