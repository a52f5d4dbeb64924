"""The bins of the initial and of the current weight, defined here and nowhere else.

Edges are multiples of a bound, the half-width of the initial axis. Bins are right-open
and the outermost are open to infinity, so that counts add up to the number of finite
weights; a weight equal to the bound lies in the last initial bin. Comparisons are made
in float64 with the edges themselves, so that they agree with `numpy.histogram`:
arithmetic on bin widths does not (it moves values that lie on an edge).
"""

import math

import numpy as np
import torch

from birthmark.shapes import Array, Tensor

INITIAL_BINS = 41  # odd: one bin is centred on zero
CURRENT_BINS = 161

# in units of the bound; the current axis is linear near zero (width 0.06 bounds) and
# logarithmic far out, to 64 bounds, where diverging weights go
INITIAL_EDGES: Array = np.linspace(-1, 1, INITIAL_BINS + 1)
CURRENT_EDGES: Array = np.sinh(
    np.linspace(-math.asinh(64), math.asinh(64), CURRENT_BINS + 1)
)


def centres(edges: Array) -> Array:
    """Midpoints of the bins, in the unit of the edges, [M]."""
    return (edges[:-1] + edges[1:]) / 2


def bin_index(values: Tensor, bound: Tensor, edges: Array) -> Tensor:
    """Number of the bin in which each value lies, int64 in 0 ... M - 1.

    Args:
        values: float64, of any shape; what is NaN gets a number without meaning.
        bound: Half-width of the initial axis, float64 scalar.
        edges: `INITIAL_EDGES` or `CURRENT_EDGES`.
    """
    inner = bound * torch.tensor(edges[1:-1], device=values.device)
    return torch.bucketize(values, inner, right=True)
