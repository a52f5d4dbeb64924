"""Where weights end, given their start (Figures 3 and 4), and whether they run away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from birthmark.analysis import Conditionals, Run, pool_conditionals
from birthmark.shapes import Array
from birthmark_experiments.paper.evidence import Arm

SPANS = ((100, 200), (300, 400), (900, 1000))  # epochs


def describe_conditionals(
    arms: list[Arm], read: Callable[[str], xr.Dataset]
) -> list[dict[str, Any]]:
    """Of each run, at its last epoch: the law of the final weight at three starts.

    Args:
        arms: Replicas by loss.
        read: Records of a run, with what has a bin axis.
    """
    return [
        {
            "loss": arm.name,
            "width": run.width,
            "replicas": run.records.sizes["replica"],
            **_describe(_pool(run, read)),
        }
        for arm in arms
        for column in arm.columns
        for run in column.runs
    ]


def _pool(run: Run, read: Callable[[str], xr.Dataset]) -> Conditionals:
    records = read(run.run_key)
    return pool_conditionals(records, int(records["distribution_epoch"][-1]), run.layer)


def _describe(found: Conditionals) -> dict[str, Any]:
    """Everything in units of the bound: starts are -1, 0 and 1 but for half a bin."""
    centres = (found.edges[1:] + found.edges[:-1]) / 2
    median = found.quantiles[found.levels.index(0.5)]
    moments, bound = found.moments, found.bound
    places = {"lowest": 0, "middle": len(centres) // 2, "highest": len(centres) - 1}
    return {
        "layer": found.layer,
        "epoch": found.epoch,
        "bound": bound,
        "slope_of_median": _slope(centres, median, moments.count),
        "bins": [
            {
                "name": name,
                "start": centres[place],
                "mean": moments.mean[place] / bound,
                "mean_error": moments.mean_error[place] / bound,
                "median": median[place] - centres[place],
                "peak": found.peak[place] / bound,
                "peak_low": found.peak_low[place] / bound,
                "peak_high": found.peak_high[place] / bound,
                "std": moments.std[place] / bound,
                "std_error": moments.std_error[place] / bound,
                "skewness": moments.skewness[place],
                "skewness_error": moments.skewness_error[place],
                "kurtosis": moments.kurtosis[place],
                "kurtosis_error": moments.kurtosis_error[place],
            }
            for name, place in places.items()
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
    return Moves(
        loss,
        run.width,
        tuple(
            float(b - a) / (last - first)
            for (first, last), (a, b) in zip(SPANS, ends, strict=True)
        ),
        tuple(float(np.interp(last, run.epochs, test)) for _, last in SPANS),
    )
