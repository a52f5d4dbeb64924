"""When a curve rises, under several definitions of the moment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter1d

from birthmark.analysis import Run, Transitions, running_median
from birthmark.shapes import Array

Lag = Callable[[Run, Transitions, int], float]


def at_share(epochs: Array, values: Array, start: float, share: float) -> float:
    """The first epoch at which a curve has risen by a share of its whole rise.

    From its value at `start` to that at the end, interpolated between records.
    """
    grid, line = _on_grid(epochs, values, start)
    if len(grid) < 2 or line[-1] <= line[0]:
        return np.nan
    reached = np.flatnonzero(line >= line[0] + share * (line[-1] - line[0]))
    return float(grid[reached[0]])


def at_steepest(epochs: Array, values: Array, start: float, window: int) -> float:
    """The epoch at which a curve rises fastest, smoothed by a quarter of the window."""
    grid, line = _on_grid(epochs, values, start)
    if len(grid) <= window:
        return np.nan
    speed = gaussian_filter1d(line, window / 4, order=1, mode="nearest")
    return float(grid[int(speed.argmax())])


def find_lag(how: str, share: float = 0.5) -> Lag:
    """How to date deviation minus loss: `change points`, `share` or `steepest`."""

    def lag(run: Run, found: Transitions, place: int) -> float:
        if how == "change points":
            return float(found.lag[place])
        loss = running_median(run.values("train_loss"), found.window)[:, place]
        deviation = run.values("deviation_std", run.layer)[:, place]
        start = float(found.min_train_epoch[place])
        if how == "steepest":
            dates = [
                at_steepest(run.epochs, one, start, found.window)
                for one in (deviation, loss)
            ]
        else:
            dates = [
                at_share(run.epochs, one, start, share) for one in (deviation, loss)
            ]
        return dates[0] - dates[1]

    return lag


def _on_grid(epochs: Array, values: Array, start: float) -> tuple[Array, Array]:
    """The curve at every epoch from `start` on."""
    use = np.isfinite(values)
    if not np.isfinite(start) or use.sum() < 2:
        return np.array([]), np.array([])
    grid = np.arange(start, epochs[use][-1] + 1)
    return grid, np.interp(grid, epochs[use], values[use])
