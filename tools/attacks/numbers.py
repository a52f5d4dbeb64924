"""Weights in float64 from the smallest to the largest number, against exact sums."""

import math
import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

import birthmark as bm
from attacks.draws import Try


def _root(square: Fraction) -> float:
    """The root of a square that is perhaps no number itself."""
    power = (square.numerator.bit_length() - square.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(float(square / Fraction(4) ** power)), power)


def extremes(draw: random.Random, folder: Path) -> Iterator[Try]:
    """Float64 of any size, before and after a move: diffed, measured and checked."""

    def attempt() -> bool:
        rng = np.random.default_rng(draw.randrange(2**32))
        size = 10.0 ** draw.uniform(-300, 300)
        a = rng.normal(size=(5, 6)) * size
        b = a + rng.normal(size=(5, 6)) * size * 10.0 ** draw.uniform(-6, 2)
        squares = [Fraction(y - x) ** 2 for x, y in zip(a.flat, b.flat, strict=True)]
        distance = _root(sum(squares))
        norm = _root(sum(Fraction(x) ** 2 for x in a.flat))
        tensors = torch.tensor(a), torch.tensor(b)
        compared = bm.diff(*({"0.weight": x} for x in tensors))["0.weight"].readings
        model = torch.nn.Linear(6, 5, bias=False, dtype=torch.float64)
        model.weight.data.copy_(tensors[1])
        bm.check(model, torch.randn(8, 6, dtype=torch.float64)).text()
        measured = bm.measure({"0.weight": tensors[0]}, {"0.weight": tensors[1]})
        return all(
            math.isclose(found, expected, rel_tol=1e-9)
            for found, expected in (
                (compared["distance"].value, distance),
                (compared["relative_distance"].value, distance / norm),
                (measured.distance.item(), distance),
            )
        )

    while True:
        yield attempt
