"""The peak of a distribution that is known by counts on edges, with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

from birthmark.shapes import Array
from birthmark.statistics.intervals import CONFIDENCE, NAN
from birthmark.statistics.sizes import unit_of

GRID = 256


@dataclass(frozen=True)
class Peak:
    """Where a density is highest."""

    value: float
    low: float  # 95 %, Student's t on the jackknife over replicas; NaN for R < 2
    high: float
    bandwidth: float  # standard deviation of the kernel
    resolution: float  # width of the bin in which the peak lies


def find_peak(edges: Array, counts_RM: Array) -> Peak:
    """The mode of the pooled replicas, by a Gaussian kernel density.

    Each count is spread evenly over its bin, so that bins of different width do no
    harm. The bandwidth is 0.9 min(sigma, IQR / 1.349) N^(-1/7): Silverman's spread
    (1986, eq. 3.31) with the power that is best for the zero of the derivative, which a
    mode is (for the density itself it is -1/5, whose modes scatter twice as much). It
    is never below half the width of the bin at the median: a peak between bins is known
    no better than `resolution`.

    The interval is Student's on the jackknife's standard error (Miller, Biometrika 61,
    1, 1974), each replica left out once. In 1,000 simulated sets of 2, 3, 5, 10
    replicas with modes of their own it held the mode in 96, 95, 93, 94 %; percentiles
    of the bootstrap over replicas did in 51, 77, 86, 88 % (of 400). The bias of the
    kernel on a skewed law (towards the mean, by less than the bandwidth) is not in it.

    Args:
        edges: [M + 1] finite; counts beyond them must be left out.
        counts_RM: [R, M].
    """
    counts = counts_RM.sum(axis=0).astype(float)
    if counts.sum() == 0:
        return Peak(NAN, NAN, NAN, NAN, NAN)
    unit = unit_of(edges)
    edges = edges / unit
    width = np.diff(edges)
    bandwidth, span = _bandwidth(edges, counts)
    grid = np.linspace(*span, GRID)
    # the kernel integrated over each bin; [G, M]
    reach = ndtr((grid[:, None] - edges) / bandwidth)
    kernel_GM = (reach[:, :-1] - reach[:, 1:]) / width
    value = float(_modes(grid, kernel_GM @ counts[:, None])[0])
    half = _half_interval(grid, kernel_GM @ (counts - counts_RM).T)
    low, high = value - half, value + half
    inside = np.searchsorted(edges, value, side="right") - 1
    resolution = float(width[np.clip(inside, 0, len(width) - 1)])
    return Peak(*(x * unit for x in (value, low, high, bandwidth, resolution)))


def _half_interval(grid: Array, without_GR: Array) -> float:
    """Half of the interval, from the densities without each replica in turn."""
    replicas = without_GR.shape[1]
    if replicas < 2 or not without_GR.any(axis=0).all():
        return NAN
    error = ((replicas - 1) * _modes(grid, without_GR).var()) ** 0.5
    return float(stdtrit(replicas - 1, (1 + CONFIDENCE) / 2) * error)


def _bandwidth(edges: Array, counts: Array) -> tuple[float, tuple[float, float]]:
    """The bandwidth, and the span in which the peak is looked for."""
    total = counts.sum()
    centre = (edges[:-1] + edges[1:]) / 2
    mean = counts @ centre / total
    sigma = np.sqrt(counts @ (centre - mean) ** 2 / total)
    cumulative = np.concatenate([[0.0], np.cumsum(counts)]) / total
    levels = [0.01, 0.25, 0.5, 0.75, 0.99]
    first, lower, median, upper, last = quantiles(edges, cumulative, levels)
    spread = min(sigma, (upper - lower) / 1.349)
    bin_width = np.diff(edges)[np.searchsorted(edges, median, side="right") - 1]
    bandwidth = max(0.9 * spread * total ** (-1 / 7), bin_width / 2)
    return float(bandwidth), (first - bandwidth, last + bandwidth)


def quantiles(edges: Array, cumulative: Array, levels: list[float]) -> Array:
    """Quantiles from a cumulative distribution at edges, linear within a bin."""
    found: Array = np.interp(levels, cumulative, edges)
    return found


def _modes(grid: Array, density_GB: Array) -> Array:
    """The highest point of each column, by a parabola through three points, [B]."""
    top = density_GB.argmax(axis=0).clip(1, len(grid) - 2)
    columns = np.arange(density_GB.shape[1])
    before, at, after = (density_GB[top + i, columns] for i in (-1, 0, 1))
    bend = before - 2 * at + after
    shift = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1), 0)
    modes: Array = grid[top] + shift.clip(-1, 1) * (grid[1] - grid[0])
    return modes
