"""Duplicate units: rows of weights, and of gradients, that are the same numbers.

Units with equal weights in and out get equal gradients and stay equal for ever, unless
noise parts them (Blumenfeld et al. 2007.01038).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor

from birthmark.checkup.second_moments import in_range
from birthmark.shapes import Array

_PROJECTIONS = 6
_CELL = 1e-4  # of a row's size: rounding is 1e-6, distinct rows are far apart


def sign_rows(rows: Tensor) -> Array:
    """A few numbers that tell rows apart, [O, 6], in units of the typical row.

    Random projections: equal rows have equal ones; two rows of independent draws agree
    in all six to a relative 1e-4 with a probability below 1e-20.
    """
    generator = torch.Generator().manual_seed(rows.shape[1])
    directions = torch.randn(rows.shape[1], _PROJECTIONS, generator=generator)
    rows = rows.detach()
    if rows.dtype in (torch.float16, torch.bfloat16):
        rows = rows.float()
    rows, _ = in_range(rows)
    projected = (rows @ directions.to(rows)).cpu().double().numpy()
    scale = float(np.median(np.linalg.norm(projected, axis=1)))
    scale = scale or float(np.abs(projected).max())
    return projected / scale if scale > 0 else projected


def count_distinct(signs_OQ: Array) -> int:
    """How many different rows there are; 0 when some are not finite."""
    if not np.isfinite(signs_OQ).all():
        return 0
    cells = np.floor(signs_OQ / _CELL)
    _, first = np.unique(cells, axis=0, return_index=True)
    # what rounding has put into neighbouring cells is one row after all
    points = signs_OQ[first]
    pairs = cKDTree(points).query_pairs(_CELL, output_type="ndarray")
    graph = coo_array(
        (np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(points),) * 2
    )
    return int(connected_components(graph, directed=False)[0])
