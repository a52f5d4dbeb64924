"""Laws whose entries depend on each other: orthogonal, sparse, deterministic, ...

Each draws a tensor [*kernel, I, O]. Where a law is one of matrices, the kernel and the
inputs are the rows, [kernel x I, O], or the matrix stands at the kernel's centre.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from birthmark.network.laws import Law
from birthmark.shapes import Array


class _Matrix:
    """Entries that depend on each other: there is no such vector of biases."""

    needs_matrix: ClassVar[bool] = True


@dataclass(frozen=True)
class Orthogonal(_Matrix):
    """`gain` times a matrix with orthonormal rows or columns, whichever are fewer.

    Uniform over such matrices (Haar): the Q of a Gaussian matrix with the signs of
    R's diagonal moved into it (Mezzadri, Notices AMS 54, 2007).
    """

    gain: float
    longer_side: int
    mean: float = 0.0

    @property
    def std(self) -> float:  # noqa: D102 - as in Law
        return self.gain / math.sqrt(self.longer_side)

    @property
    def bound(self) -> float:  # noqa: D102
        return 4 * self.std

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:  # noqa: D102
        rows, columns = math.prod(shape[:-1]), shape[-1]
        longer, shorter = max(rows, columns), min(rows, columns)
        q, r = np.linalg.qr(generator.standard_normal((longer, shorter)))
        q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


@dataclass(frozen=True)
class AtCentre(_Matrix):
    """The law of a matrix [I, O] at the centre of the kernel, zero around it."""

    inner: Law
    receptive_field: int

    @property
    def mean(self) -> float:  # noqa: D102
        return self.inner.mean / self.receptive_field

    @property
    def std(self) -> float:  # noqa: D102
        second = (self.inner.std**2 + self.inner.mean**2) / self.receptive_field
        return math.sqrt(second - self.mean**2)

    @property
    def bound(self) -> float:  # noqa: D102
        return self.inner.bound

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:  # noqa: D102
        w = np.zeros(shape)
        # where the kernel has an even side, right of its middle, as torch's dirac_
        w[tuple(side // 2 for side in shape[:-2])] = self.inner.draw(
            generator, shape[-2:]
        )
        return w


@dataclass(frozen=True)
class Mirrored(_Matrix):
    """[[U, -U], [-U, U]] with orthogonal U, or one row or one column of these blocks.

    Args of `rows` and `columns`: whether the inputs, the outputs, come in pairs.
    """

    inner: Orthogonal
    rows: bool
    columns: bool
    mean: float = 0.0

    @property
    def std(self) -> float:  # noqa: D102
        return self.inner.std

    @property
    def bound(self) -> float:  # noqa: D102
        return self.inner.bound

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:  # noqa: D102
        rows, columns = shape
        u = self.inner.draw(
            generator, (rows // (1 + self.rows), columns // (1 + self.columns))
        )
        signs = np.array([[1.0, -1.0], [-1.0, 1.0]])[
            : 1 + self.rows, : 1 + self.columns
        ]
        return np.kron(signs, u)


@dataclass(frozen=True)
class Sparse(_Matrix):
    """`kept` entries of each line of the matrix drawn from `inner`, the others zero.

    Lines are the columns [kernel x I] of one unit each, or the rows [O] of one input.
    """

    inner: Law
    kept: int
    length: int
    by_unit: bool

    @property
    def mean(self) -> float:  # noqa: D102
        return self.inner.mean * self.kept / self.length

    @property
    def std(self) -> float:  # noqa: D102
        second = (self.inner.std**2 + self.inner.mean**2) * self.kept / self.length
        return math.sqrt(second - self.mean**2)

    @property
    def bound(self) -> float:  # noqa: D102
        return self.inner.bound

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:  # noqa: D102
        matrix = (math.prod(shape[:-1]), shape[-1])
        axis = 0 if self.by_unit else 1
        values = self.inner.draw(generator, matrix)
        places = generator.random(matrix)
        rank = np.argsort(np.argsort(places, axis=axis, kind="stable"), axis=axis)
        return np.where(rank < self.kept, values, 0.0).reshape(shape)


@dataclass(frozen=True)
class EqualNorms(_Matrix):
    """Uniform entries, with the weights of each unit scaled to the norm `norm`."""

    norm: float
    fan_in: int
    mean: float = 0.0

    @property
    def std(self) -> float:  # noqa: D102
        return self.norm / math.sqrt(self.fan_in)

    @property
    def bound(self) -> float:  # noqa: D102
        return min(self.norm, 4 * self.std)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:  # noqa: D102
        w = 2 * generator.random((math.prod(shape[:-1]), shape[-1])) - 1
        directions = w / np.linalg.norm(w, axis=0)
        return np.asarray(self.norm * directions).reshape(shape)


@dataclass(frozen=True)
class OnePositive(_Matrix):
    """N(0, `scale`^2), with one random weight of each unit from Beta(2, 1) instead."""

    scale: float
    fan_in: int

    @property
    def mean(self) -> float:  # noqa: D102
        return 2 / 3 / self.fan_in

    @property
    def std(self) -> float:  # noqa: D102
        # E[b] = 2/3 and E[b^2] = 1/2 of Beta(2, 1)
        second = self.scale**2 + (1 / 2 - self.scale**2) / self.fan_in
        return math.sqrt(second - self.mean**2)

    @property
    def bound(self) -> float:  # noqa: D102
        return max(1.0, 4 * self.scale)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:  # noqa: D102
        w = self.scale * generator.standard_normal((math.prod(shape[:-1]), shape[-1]))
        chosen = generator.random(w.shape).argmax(axis=0)
        # the density 2b on 0 ... 1 is that of the square root of a uniform number
        w[chosen, np.arange(shape[-1])] = np.sqrt(generator.random(shape[-1]))
        return w.reshape(shape)


class _Whole:
    """One tensor and no other, `values`."""

    values: Array  # [*kernel, I, O] or [O], float64

    @property
    def mean(self) -> float:  # noqa: D102
        return float(self.values.mean())

    @property
    def std(self) -> float:  # noqa: D102
        return float(self.values.std())

    @property
    def bound(self) -> float:  # noqa: D102
        return float(np.abs(self.values).max())

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:  # noqa: D102
        return self.values.copy()


@dataclass(frozen=True, eq=False)
class Given(_Whole):
    """A tensor that is there, of weights or of biases."""

    values: Array
    needs_matrix: ClassVar[bool] = False


@dataclass(frozen=True, eq=False)
class Deterministic(_Whole, _Matrix):
    """A matrix that `build` makes when it is first asked for."""

    build: Callable[[], Array]

    @cached_property
    def values(self) -> Array:  # type: ignore[override]
        """The tensor [*kernel, I, O], float64."""
        return self.build()
