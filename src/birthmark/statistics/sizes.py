"""Numbers whose squares float64 does not hold, in a unit in which it does."""

import math

import numpy as np
import numpy.typing as npt

from birthmark.shapes import Array

_SAFE = 300  # exponents of two between which squares, and sums of them, are numbers


def unit_of(values: npt.ArrayLike) -> float:
    """A power of two by which values are divided before they are squared or added up.

    Division by it is exact. It is 1 for all usual sizes, so that no bit changes there.
    """
    sizes = np.abs(np.asarray(values, dtype=float))
    exponent = math.frexp(np.max(sizes, where=np.isfinite(sizes), initial=0.0))[1]
    # the largest power of two that is finite is 2**1023
    return 1.0 if abs(exponent) <= _SAFE else math.ldexp(1.0, exponent - 1)


def norm(values: npt.ArrayLike, axis: int | None = None) -> Array:
    """The L2 norm."""
    unit = unit_of(values)
    squares = np.square(np.asarray(values, dtype=float) / unit)
    return np.asarray(np.sqrt(squares.sum(axis=axis)) * unit)
