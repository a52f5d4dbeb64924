"""Abrupt rises of a positive curve, told from smooth growth, noise and short spikes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from birthmark.shapes import Array


@dataclass(frozen=True)
class Jump:
    """An abrupt rise of a curve."""

    epoch: float  # the middle of the rise: the change point of the logarithm
    size: float  # rise of the logarithm beyond its trend
    gap: float  # epochs between the recorded ones around it: the resolution


def find_jumps(
    epochs: Array, values: Array, *, window: int, least: float, floor: float = 0.0
) -> list[Jump]:
    """The jumps of one curve, the largest first.

    Change points of the mean of ln X are found by PELT (Killick, Fearnhead & Eckley,
    arXiv 1101.1438). One counts as a jump when the median of ln X over the window after
    it exceeds that over the window before by `least` more than the trend: the median
    of the same rise over the (at most) three windows before. So smooth growth has none,
    and a spike shorter than half a window has none. Nothing can be said in the first
    two windows and in the last. Of several within one window the largest counts.

    Args:
        epochs: [T], rising.
        values: [T]; those that are not positive and finite are left out, and ln X is
            interpolated linearly between the others.
        window: Epochs looked at on each side.
        least: The least rise of ln X that counts.
        floor: The median after a jump must be at least this value.
    """
    use = np.isfinite(values) & (values > 0)
    if use.sum() < 2:
        return []
    known = epochs[use].astype(float)
    grid = np.arange(known[0], known[-1] + 1)
    if len(grid) < 3 * window:
        return []
    log_x = np.interp(grid, known, np.log(values[use]))
    median = np.median(sliding_window_view(log_x, window), axis=-1)
    rise = median[window:] - median[:-window]  # rise[i]: at the point i + window
    found: list[Jump] = []
    for point in _change_points(log_x, window, least):
        if not 2 * window <= point <= len(grid) - window:
            continue
        here = point - window
        trend = float(np.median(rise[max(here - 4 * window, 0) : here - window + 1]))
        size = float(rise[here]) - max(trend, 0.0)
        if size >= least and np.exp(median[point]) >= floor:
            epoch = float(grid[point])
            after = int(np.searchsorted(known, epoch))
            found.append(Jump(epoch, size, float(known[after] - known[after - 1])))
    found.sort(key=lambda jump: -jump.size)
    return [
        jump
        for i, jump in enumerate(found)
        if all(abs(jump.epoch - other.epoch) > window for other in found[:i])
    ]


def _change_points(log_x: Array, window: int, least: float) -> list[int]:
    """Indices at which a new mean begins.

    A step of height h between two windows lowers the sum of squares by window h^2 / 2:
    half of that is the penalty, or what noise needs where noise is larger.
    """
    moves = np.diff(log_x)
    noise = 1.4826 * np.median(np.abs(moves - np.median(moves))) / np.sqrt(2)
    penalty = max(window * least**2 / 4, 3 * noise**2 * np.log(len(log_x)))
    import ruptures  # loads scipy.signal: for curves that are long enough

    search = ruptures.KernelCPD(kernel="linear", min_size=max(2, window // 4))
    ends: list[int] = search.fit(log_x[:, None]).predict(pen=penalty)
    return ends[:-1]
