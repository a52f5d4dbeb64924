"""Abrupt rises of a positive curve, told from smooth growth, noise and short spikes."""

from __future__ import annotations

from collections.abc import Sequence
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
) -> tuple[Jump, ...]:
    """The jumps of one curve, [T], as `find_all_jumps` finds them."""
    many = np.asarray(values)[:, None]
    return find_all_jumps(epochs, many, window=window, least=least, floor=floor)[0]


def find_all_jumps(
    epochs: Array, values_TR: Array, *, window: int, least: float, floor: float = 0.0
) -> tuple[tuple[Jump, ...], ...]:
    """The jumps of each curve, the largest first.

    Change points are those of the mean of ln X at the least sum of squared errors, with
    a penalty for each (Jackson et al., IEEE Signal Process. Lett. 12, 105, 2005). One
    counts as a jump when the median of ln X over the window after it exceeds that over
    the window before by `least` more than the trend: the median of the same rise over
    the (at most) three windows before. So smooth growth has none, and a spike shorter
    than half a window has none. Nothing can be said in the first two windows and in the
    last. Of several within one window the largest counts.

    Args:
        epochs: [T], rising.
        values_TR: [T, R]; those that are not positive and finite are left out, and ln X
            is interpolated linearly between the others.
        window: Epochs looked at on each side.
        least: The least rise of ln X that counts.
        floor: The median after a jump must be at least this value.
    """
    curves = [_on_grid(epochs, values_T, 3 * window) for values_T in values_TR.T]
    logs = [log_x for _, log_x in curves]
    penalties = [_find_penalty(log_x, window, least) for log_x in logs]
    points = find_change_points(logs, penalties, max(2, window // 4))
    return tuple(
        _choose(known, log_x, at, window, least, floor)
        for (known, log_x), at in zip(curves, points, strict=True)
    )


def _on_grid(epochs: Array, values: Array, shortest: int) -> tuple[Array, Array]:
    """The epochs with a value, and ln X at each epoch between; none if too few."""
    use = np.isfinite(values) & (values > 0)
    known = epochs[use].astype(float)
    grid = np.arange(known[0], known[-1] + 1) if len(known) else known
    if len(grid) < max(shortest, 2):
        return known, np.empty(0)
    return known, np.interp(grid, known, np.log(values[use]))


def _choose(
    known: Array,
    log_x: Array,
    points: list[int],
    window: int,
    least: float,
    floor: float,
) -> tuple[Jump, ...]:
    """The change points that are jumps."""
    found: list[Jump] = []
    if points:
        median = np.median(sliding_window_view(log_x, window), axis=-1)
        rise = median[window:] - median[:-window]  # rise[i]: at the point i + window
    for point in points:
        if not 2 * window <= point <= len(log_x) - window:
            continue
        here = point - window
        trend = float(np.median(rise[max(here - 4 * window, 0) : here - window + 1]))
        size = float(rise[here]) - max(trend, 0.0)
        if size >= least and np.exp(median[point]) >= floor:
            epoch = float(known[0] + point)
            after = int(np.searchsorted(known, epoch))
            found.append(Jump(epoch, size, float(known[after] - known[after - 1])))
    found.sort(key=lambda jump: -jump.size)
    return tuple(
        jump
        for i, jump in enumerate(found)
        if all(abs(jump.epoch - other.epoch) > window for other in found[:i])
    )


def _find_penalty(log_x: Array, window: int, least: float) -> float:
    """What a change of the mean must save.

    A step of height h between two windows lowers the sum of squares by window h^2 / 2:
    half of that is the penalty, or what noise needs where noise is larger.
    """
    if not len(log_x):
        return 0.0
    moves = np.diff(log_x)
    noise = 1.4826 * np.median(np.abs(moves - np.median(moves))) / np.sqrt(2)
    return float(max(window * least**2 / 4, 3 * noise**2 * np.log(len(log_x))))


def find_change_points(
    curves: Sequence[Array], penalties: Sequence[float], shortest: int
) -> list[list[int]]:
    """Where new means begin: at the least squared errors and penalties together.

    All curves are gone through at once, each to its own end.

    Args:
        curves: Each of a length of its own.
        penalties: Of a change, one a curve.
        shortest: No piece has fewer values.
    """
    x_RT = np.zeros((len(curves), max(map(len, curves), default=0)))
    for row, x in zip(x_RT, curves, strict=True):
        row[: len(x)] = x - x.mean() if len(x) else x
    sums, squares = (
        np.pad(one.cumsum(axis=1), ((0, 0), (1, 0))) for one in (x_RT, x_RT**2)
    )
    rows, penalty_R = np.arange(len(curves)), np.asarray(penalties)
    least, starts = np.full_like(sums, np.inf), np.zeros(sums.shape, dtype=int)
    least[:, 0] = 0.0
    for end in range(shortest, sums.shape[1]):
        count = end - shortest + 1  # of places where the last piece may begin
        inside = sums[:, end, None] - sums[:, :count]
        cost = least[:, :count] - squares[:, :count]
        cost -= inside * inside / np.arange(end, end - count, -1)
        starts[:, end] = at = cost.argmin(axis=1)
        least[:, end] = cost[rows, at] + squares[:, end] + penalty_R
    return [_go_back(row, len(x)) for row, x in zip(starts, curves, strict=True)]


def _go_back(starts: Array, end: int) -> list[int]:
    points = []
    while end and (end := int(starts[end])):
        points.append(end)
    return points[::-1]
