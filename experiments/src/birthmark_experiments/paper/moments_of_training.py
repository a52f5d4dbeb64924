"""The moments of a training: minima, ends, rises, and divergence as it is defined."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter1d

from birthmark.analysis import (
    Run,
    Thresholds,
    Transitions,
    chance_loss,
    curves,
    fact,
    running_median,
)
from birthmark.shapes import Array
from birthmark.spec import RunSpec

Moment = Callable[[Transitions, int], float]  # the epoch of a replica, by its place
Reader = Callable[[Run, Transitions, int], float]
RISES = (1.5, 2.0, 3.0)  # multiples of the minimum
DATED_OVER = 20  # epochs of the running median by which one curve is dated
PLATEAUS = (0.5, 0.9)  # shares of the plateau of the clipped loss


def at_min_test(found: Transitions, place: int) -> float:
    """The minimum of the test loss; the end while it is still falling."""
    epoch = float(found.min_test_epoch[place])
    return epoch if math.isfinite(epoch) else float(found.last_epoch)


def at_min_train(found: Transitions, place: int) -> float:
    """The minimum of the train loss; the end while it is still falling."""
    epoch = float(found.min_train_epoch[place])
    return epoch if math.isfinite(epoch) else float(found.last_epoch)


def at_end(found: Transitions, place: int) -> float:
    """The last epoch."""
    return float(found.last_epoch)


MOMENTS: dict[str, Moment] = {
    "the minimum of the test loss": at_min_test,
    "the minimum of the train loss": at_min_train,
    "the end": at_end,
}


def read_at(name: str, epoch: Moment) -> Reader:
    """How to read a variable, between the hidden layers, at a moment."""

    def read(run: Run, found: Transitions, place: int) -> float:
        return value_at(run, name, run.layer, epoch(found, place), place)

    return read


def value_at(run: Run, name: str, layer: str, epoch: float, place: int) -> float:
    """A variable of one replica at the last recorded epoch up to this one."""
    if not math.isfinite(epoch):
        return math.nan
    values = run.values(name, layer)[:, place]
    epochs = run.records["epoch"].to_numpy()
    known = np.flatnonzero(np.isfinite(values) & (epochs <= epoch))
    return float(values[known[-1]]) if len(known) else math.nan


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


def find_lag(how: str, share: float = 0.5) -> Reader:
    """How to date deviation minus loss: `change points`, `share` or `steepest`."""

    def lag(run: Run, found: Transitions, place: int) -> float:
        if how == "change points":
            return float(found.lag[place])
        loss = running_median(run.values("train_loss"), found.window)[:, place]
        deviation = run.values("deviation_std", run.layer)[:, place]
        start = float(found.min_train_epoch[place])
        late, early = (
            at_steepest(run.epochs, x, start, found.window)
            if how == "steepest"
            else at_share(run.epochs, x, start, share)
            for x in (deviation, loss)
        )
        return late - early

    return lag


def _on_grid(epochs: Array, values: Array, start: float) -> tuple[Array, Array]:
    """The curve at every epoch from `start` on."""
    use = np.isfinite(values)
    if not np.isfinite(start) or use.sum() < 2:
        return np.array([]), np.array([])
    grid = np.arange(start, epochs[use][-1] + 1)
    return grid, np.interp(grid, epochs[use], values[use])


@dataclass(frozen=True)
class Divergence:
    """The epochs at which replicas diverged, under one definition."""

    name: str  # plain words
    level: Array  # [R] train loss that is passed
    epoch: Array  # [R]; NaN: never


def find_divergences(records: xr.Dataset, spec: RunSpec) -> list[Divergence]:
    """The epoch from which the train loss stays above a level until the end.

    The levels: multiples of the minimum of the replica (the rise begins), the loss of
    chance, and, for the clipped loss, shares of its plateau (the rise is over). The
    train loss is a running median over a window, so that a spike is none of them, and
    only what comes after its minimum counts.
    """
    epochs = records["epoch"].to_numpy().astype(float)
    window = Thresholds().window_epochs(int(epochs[-1]))
    smooth_TR = running_median(curves(records, "train_loss"), window)
    least_R = np.min(smooth_TR, axis=0, where=np.isfinite(smooth_TR), initial=np.inf)
    chance = chance_loss(spec, int(fact(records, "num_classes")))
    levels = {f"{k:g} times the minimum": k * least_R for k in RISES}
    levels["the loss of chance"] = np.full_like(least_R, chance)
    if spec.training.loss == "clipped_cross_entropy":
        guessed = 1 - fact(records, "largest_class_share")
        plateau = -math.log(spec.training.eps) * guessed
        for share in PLATEAUS:
            levels[f"{share:g} of the plateau"] = np.full_like(least_R, share * plateau)
    return [
        Divergence(name, level_R, stays_above(epochs, smooth_TR, level_R))
        for name, level_R in levels.items()
    ]


def date_rise(epochs: Array, loss_TR: Array, plateau: float) -> tuple[Array, Array]:
    """The epochs of the rise and of the plateau of each network, [R]; NaN: never.

    From the first on the train loss stays above twice its minimum, from the second on
    above the level given; it is a running median over `DATED_OVER` epochs.
    """
    smooth_TR = running_median(loss_TR, DATED_OVER)
    levels = (2 * smooth_TR.min(axis=0), np.full(loss_TR.shape[1], plateau))
    rise_R, plateau_R = (stays_above(epochs, smooth_TR, level_R) for level_R in levels)
    return rise_R, plateau_R


def stays_above(epochs: Array, smooth_TR: Array, level_R: Array) -> Array:
    """The first epoch after the minimum with nothing below the level behind it, [R].

    NaN where there is none. Losses are without spikes, such as a running median.
    """
    found = np.full(smooth_TR.shape[1], np.nan)
    for place, (smooth, level) in enumerate(zip(smooth_TR.T, level_R, strict=True)):
        known = np.flatnonzero(np.isfinite(smooth))
        if not len(known):
            continue
        values = smooth[known]
        below = np.flatnonzero(values < level)
        first = max(below[-1] + 1 if len(below) else 0, values.argmin() + 1)
        if first < len(known):
            found[place] = epochs[known[first]]
    return found
