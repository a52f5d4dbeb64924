"""What the sweep of the variance says: readings beside theory, and what was trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from birthmark.shapes import Array
from birthmark.statistics import interval
from birthmark_experiments.critical_variance.scatter import log_variance
from birthmark_experiments.frame import Facts

REACH = 6  # depth scales: Schoenholz et al. 1611.01232, section 5
_CHANCE = math.log(10)
_CRITICAL_OF_RELU = 2.0
_SAME = 1e-4  # what differs by less agrees: the correlations are kept as float32


@dataclass(frozen=True)
class CriticalVarianceFacts(Facts):
    """Readings of q, chi_1, c and xi_c with intervals; trained depths against 6 xi."""

    protocol: str
    critical: float
    infinity: float
    trained_below: float
    readings: Mapping[str, Sequence[Mapping[str, Any]]]
    agreement: Mapping[str, Mapping[str, float]]
    spread: Mapping[str, float]
    trained: Mapping[str, Mapping[str, Any]]
    num_replicas: int
    num_layers: int
    num_trained: int
    width: int


def summarize(results: xr.Dataset) -> CriticalVarianceFacts:
    """Readings of q, chi_1, c and xi_c with intervals; trained depths against 6 xi."""
    width = int(results.attrs["width"])
    names = [str(a) for a in results["activation"].to_numpy()]
    readings = {name: _read(results.sel(activation=name), width) for name in names}
    # the ReLU networks of all variances are one another's multiples: they count once
    rows = readings["tanh"] + [
        row for row in readings["relu"] if row["variance"] == _CRITICAL_OF_RELU
    ]
    return CriticalVarianceFacts.read(
        results,
        critical=_find_critical(results.sel(activation="tanh")),
        infinity=math.inf,
        trained_below=_CHANCE / 2,
        readings=readings,
        agreement={
            name: _count_agreement([row[name] for row in rows if row[name]])
            for name in ("moment", "chi", "last", "scale")
        },
        spread=_read_spread(results, width),
        trained={name: _count_trained(results.sel(activation=name)) for name in names},
        num_layers=results.sizes["layer"],
        num_trained=results.sizes["trained_replica"],
        width=width,
    )


def _find_critical(one: xr.Dataset) -> float:
    """The variance at which theory's chi_1 is 1."""
    return float(np.interp(1.0, one["fine_chi_limit"], one["fine_variance"]))


def _read(one: xr.Dataset, width: int) -> list[dict[str, Any]]:
    return [
        _read_variance(one.sel(variance=v), float(v), width)
        for v in one["variance"].to_numpy()
    ]


def _read_variance(one: xr.Dataset, variance: float, width: int) -> dict[str, Any]:
    moment = float(one["moment_theory"][-1])
    if one["activation"] == "relu":
        moment -= log_variance(one.sizes["layer"], width) / 2 / math.log(2)
    return {
        "variance": variance,
        "moment": _beside(one["moment"].isel(layer=-1).to_numpy(), moment),
        **{
            name: _beside(
                one[f"{name}_read"].to_numpy(), float(one[f"{name}_expected"])
            )
            for name in ("chi", "last", "scale")
        },
        "correlation_limit": float(one["correlation_limit"]),
        "depth_limit": float(one["depth_limit"]),
        "gradient_limit": float(one["gradient_limit"]),
    }


def _beside(values_R: Array, theory: float) -> dict[str, Any] | None:
    """A mean over replicas with Student's 95 % interval, and what theory expects."""
    if math.isnan(theory):
        return None
    found = interval(values_R)
    agrees = found["low"] - _SAME <= theory <= found["high"] + _SAME
    return {**found, "theory": theory, "agrees": agrees}


def _count_agreement(readings: list[dict[str, Any]]) -> dict[str, Any]:
    """How many intervals hold theory, and the largest distance of a mean from it."""
    return {
        "agree": sum(one["agrees"] for one in readings),
        "of": len(readings),
        "largest": max(abs(one["mean"] - one["theory"]) for one in readings),
        "largest_share": max(abs(one["mean"] / one["theory"] - 1) for one in readings),
    }


def _read_spread(results: xr.Dataset, width: int) -> dict[str, float]:
    """Bits by which replicas of the critical ReLU network differ in the last layer."""
    one = results.sel(activation="relu", variance=_CRITICAL_OF_RELU)
    measured = float(one["moment_spread"][-1])
    dof = results.sizes["replica"] - 1
    low, high = (
        measured * math.sqrt(dof / float(stats.chi2.ppf(tail, dof)))
        for tail in (0.975, 0.025)
    )
    variance = log_variance(results.sizes["layer"], width)
    return {
        "measured": measured,
        "low": low,
        "high": high,
        "theory": math.sqrt(variance) / math.log(2),
        "shift": -variance / 2 / math.log(2),
    }


def _count_trained(one: xr.Dataset) -> dict[str, Any]:
    """Cells of the grid that learned, within and beyond six depth scales.

    Learned: the mean test loss over replicas is below half of that of a guess, where a
    replica that is worse than a guess, or has no loss any more, counts as a guess.
    """
    loss = np.nan_to_num(one["test_loss"].to_numpy(), nan=np.inf)
    mean = np.minimum(loss, _CHANCE).mean(axis=-1)
    learned = mean < _CHANCE / 2
    kinds = ("depth_limit", "gradient_limit")
    kind = kinds[0] if np.isfinite(one[kinds[0]]).any() else kinds[1]
    depth = one["depth"].to_numpy()
    within = depth[None, :] <= REACH * one[kind].to_numpy()[:, None]
    return {
        "scale": kind,
        "within": int(within.sum()),
        "within_trained": int((learned & within).sum()),
        "beyond": int((~within).sum()),
        "beyond_trained": int((learned & ~within).sum()),
        "depths": [int(d) for d in depth],
        "rows": [
            {
                "variance": float(v),
                "reach": float(REACH * scale),
                "losses": [float(value) for value in row],
                "deepest": int(max(depth[ok], default=0)),
            }
            for v, scale, row, ok in zip(
                one["variance"].to_numpy(),
                one[kind].to_numpy(),
                mean,
                learned,
                strict=True,
            )
        ],
    }
