"""Where weights end, given their start (Figures 3 and 4), and whether they run away."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from birthmark.analysis import Conditionals, Run, pool_conditionals
from birthmark.shapes import Array
from .claims import Arm

SPANS = ((100, 200), (300, 400), (900, 1000))  # epochs
_PEAK = ("peak", "peak_low", "peak_high")
_LENGTHS = ("mean", "mean_error", "std", "std_error")
_SHAPES = ("skewness", "skewness_error", "kurtosis", "kurtosis_error")


def describe_conditionals(
    arms: list[Arm], read: Callable[[str], xr.Dataset]
) -> list[dict[str, Any]]:
    """Of each run, at its last epoch: the law of the final weight at three starts.

    What is read of a run are its records with what has a bin axis.
    """
    found = []
    for arm in arms:
        for run in (run for column in arm.columns for run in column.runs):
            records = read(run.run_key)
            last = int(records["distribution_epoch"][-1])
            pooled = _describe(pool_conditionals(records, last, run.layer))
            found.append({"loss": arm.name, "width": run.width, **pooled})
    return found


def _describe(found: Conditionals) -> dict[str, Any]:
    """Everything in units of the bound: starts are -1, 0 and 1 but for half a bin."""
    centres = (found.edges[1:] + found.edges[:-1]) / 2
    median = found.quantiles[found.levels.index(0.5)]
    moments, bound = found.moments, found.bound
    return {
        "epoch": found.epoch,
        "slope_of_median": _slope(centres, median, moments.count),
        "bins": [
            {
                "start": centres[place],
                "median": median[place] - centres[place],
                **{n: getattr(found, n)[place] / bound for n in _PEAK},
                **{n: getattr(moments, n)[place] / bound for n in _LENGTHS},
                **{n: getattr(moments, n)[place] for n in _SHAPES},
            }
            for place in (0, len(centres) // 2, len(centres) - 1)
        ],
    }


def _slope(x: Array, y: Array, count: Array) -> float:
    """Of the least-squares line through the medians, weighted by the weights in a bin.

    1: the final weight follows its start; 0: it does not know it.
    """
    known = np.isfinite(y)
    slope, _ = np.polyfit(x[known], y[known], 1, w=np.sqrt(count[known]))
    return float(slope)


@dataclass(frozen=True)
class Moves:
    """Path of the matrix between the hidden layers, by epoch, mean over replicas."""

    loss: str  # in plain words
    width: int
    path: tuple[float, ...]  # an epoch, in each of SPANS
    test_loss: tuple[float, ...]  # at the end of each of SPANS


def find_moves(arms: list[Arm]) -> list[Moves]:
    """Of the widths that were run with every loss."""
    widths = [{column.width for column in arm.columns} for arm in arms]
    both = set.intersection(*widths) if widths else set()
    return [
        _describe_moves(arm.name, run)
        for arm in arms
        for column in arm.columns
        if column.width in both
        for run in column.runs
    ]


def _describe_moves(loss: str, run: Run) -> Moves:
    path_TR = run.values("path_length", run.layer)
    known = np.isfinite(path_TR).all(axis=1)
    mean = path_TR[known].mean(axis=1)
    ends = [np.interp(span, run.epochs[known], mean) for span in SPANS]
    test = run.values("test_loss").mean(axis=1)
    lengths = [last - first for first, last in SPANS]
    path = [float(b - a) / n for (a, b), n in zip(ends, lengths, strict=True)]
    losses = [float(np.interp(last, run.epochs, test)) for _, last in SPANS]
    return Moves(loss, run.width, tuple(path), tuple(losses))
