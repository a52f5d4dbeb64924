"""Laws from which a tensor is drawn: moments in closed form, draws in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from birthmark.shapes import Array

# std of a normal variable cut at two standard deviations: sqrt(1 - 4 phi(2) / P(|z|<2))
TRUNCATED_STD = 0.8796256610342398


class Law(Protocol):
    """A distribution of single weights."""

    @property
    def mean(self) -> float:
        """The expected value."""

    @property
    def std(self) -> float:
        """The standard deviation of one weight."""

    @property
    def bound(self) -> float:
        """Half-width that holds all weights, or all but 6e-5 of an unbounded law."""

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Independent draws, float64."""


@dataclass(frozen=True)
class Constant:
    """Each weight is `value`."""

    value: float
    std: float = 0.0

    @property
    def mean(self) -> float:  # noqa: D102 - as in Law
        return self.value

    @property
    def bound(self) -> float:  # noqa: D102
        return abs(self.value)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:  # noqa: D102
        return np.full(shape, self.value)


@dataclass(frozen=True)
class Uniform:
    """U(low, high)."""

    low: float
    high: float

    @property
    def mean(self) -> float:  # noqa: D102
        return (self.low + self.high) / 2

    @property
    def std(self) -> float:  # noqa: D102
        return (self.high - self.low) / math.sqrt(12)

    @property
    def bound(self) -> float:  # noqa: D102
        return max(abs(self.low), abs(self.high))

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:  # noqa: D102
        return self.low + (self.high - self.low) * generator.random(shape)


@dataclass(frozen=True)
class Normal:
    """N(mean, std^2)."""

    mean: float
    std: float

    @property
    def bound(self) -> float:  # noqa: D102
        return abs(self.mean) + 4 * self.std

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:  # noqa: D102
        return self.mean + self.std * generator.standard_normal(shape)


@dataclass(frozen=True)
class TruncatedNormal:
    """N(mean, scale^2), drawn again beyond two `scale` from the mean."""

    mean: float
    scale: float

    @property
    def std(self) -> float:  # noqa: D102
        return TRUNCATED_STD * self.scale

    @property
    def bound(self) -> float:  # noqa: D102
        return abs(self.mean) + 2 * self.scale

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:  # noqa: D102
        draws = generator.standard_normal(shape)
        while (beyond := np.abs(draws) > 2).any():
            draws[beyond] = generator.standard_normal(int(beyond.sum()))
        return self.mean + self.scale * draws


@dataclass(frozen=True)
class Orthogonal:
    """`gain` times a matrix with orthonormal rows or columns, whichever are fewer.

    Uniform over such matrices (Haar): the Q of a Gaussian matrix with the signs of
    R's diagonal moved into it (Mezzadri, Notices AMS 54, 2007).
    """

    gain: float
    longer_side: int
    mean: float = 0.0

    @property
    def std(self) -> float:  # noqa: D102
        return self.gain / math.sqrt(self.longer_side)

    @property
    def bound(self) -> float:  # noqa: D102
        return 4 * self.std

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:  # noqa: D102
        rows, columns = shape
        gaussian = generator.standard_normal((max(shape), min(shape)))
        q, r = np.linalg.qr(gaussian)
        q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return self.gain * (q if rows >= columns else q.T)
