"""Where a loss stops being a number, whoever noted it."""

from __future__ import annotations

import numpy as np

from birthmark.shapes import Array


def lost_since(clock_T: Array, values_TR: Array) -> Array:
    """When a curve became NaN or Inf for good, [R]; NaN where it did not.

    A loop notes what it likes when it likes, and what it did not note is NaN too. So
    NaN at the end counts where there are more of them than ever lay between two
    numbers, of which there are two at least; Inf always, and what never was a number.

    Args:
        clock_T: Steps or epochs of the records.
        values_TR: The curves.
    """
    found = [_lost_since(clock_T, values_T) for values_T in values_TR.T]
    return np.array(found, dtype=float)


def _lost_since(clock_T: Array, values_T: Array) -> float:
    seen = np.flatnonzero(np.isfinite(values_T))
    begin = int(seen[-1]) + 1 if len(seen) else 0
    tail = values_T[begin:]
    if not len(tail):
        return np.nan
    gap = int(np.diff(seen).max()) - 1 if len(seen) > 1 else len(values_T)
    gap = gap if len(seen) else 1  # nothing may be noted at the start
    if len(tail) > gap or np.isinf(tail).any():
        return float(clock_T[begin])
    return np.nan
