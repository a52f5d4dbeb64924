"""What the sweep of the variance says: readings beside theory, and what was trained."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from birthmark.shapes import Array
from birthmark.statistics import interval
from ..frame import Facts, each

REACH = 6  # depth scales: Schoenholz et al. 1611.01232, section 5
_CHANCE = math.log(10)
_CRITICAL_OF_RELU = 2.0
_SAME = 1e-4  # what differs by less agrees: the correlations are kept as float32


@dataclass(frozen=True)
class CriticalVarianceFacts(Facts):
    """Readings of q, chi_1, c and xi_c with intervals; trained depths against 6 xi."""

    protocol: str
    critical: float
    readings: Mapping[str, Sequence[Mapping[str, Any]]]
    agreement: Mapping[str, Mapping[str, float]]
    spread: Mapping[str, float]
    trained: Mapping[str, Mapping[str, Any]]
    num_replicas: int
    num_layers: int
    num_trained: int
    width: int
    infinity: float = math.inf
    trained_below: float = _CHANCE / 2


def summarize(results: xr.Dataset) -> CriticalVarianceFacts:
    """Readings of q, chi_1, c and xi_c with intervals; trained depths against 6 xi."""
    width = int(results.attrs["width"])
    by_activation = each(results, "activation")
    readings = {
        name: [_read(one, v, width) for v, one in each(arm, "variance").items()]
        for name, arm in by_activation.items()
    }
    tanh = by_activation["tanh"]
    # the ReLU networks of all variances are one another's multiples: they count once
    rows = readings["tanh"] + [
        row for row in readings["relu"] if row["variance"] == _CRITICAL_OF_RELU
    ]
    return CriticalVarianceFacts.read(
        results,
        # the variance at which theory's chi_1 is 1
        critical=float(np.interp(1.0, tanh["fine_chi_limit"], tanh["fine_variance"])),
        readings=readings,
        agreement={
            name: _count_agreement([row[name] for row in rows if row[name]])
            for name in ("moment", "chi", "last", "scale")
        },
        spread=_read_spread(results, width),
        trained={name: _count_trained(arm) for name, arm in by_activation.items()},
        num_trained=results.sizes["trained_replica"],
    )


def _read(one: xr.Dataset, variance: float, width: int) -> dict[str, Any]:
    moment = float(one["moment_theory"][-1])
    if one["activation"] == "relu":
        moment -= log_variance(one.sizes["layer"], width) / 2 / math.log(2)
    return {
        "variance": variance,
        "moment": _beside(one["moment"].isel(layer=-1).to_numpy(), moment),
        **{
            name: _beside(one[f"{name}_read"].values, float(one[f"{name}_expected"]))
            for name in ("chi", "last", "scale")
        },
        **{name: float(one[name]) for name in ("depth_limit", "gradient_limit")},
    }


def log_variance(depth: int, width: int) -> float:
    """The variance over draws of ln q of one input behind `depth` layers with ReLU.

    A layer adds E relu^4 / (E relu^2)^2 - 1 = 5 over the width, and the last one, whose
    pre-activations are looked at, 2 over the width (that variances add up as depth over
    width: Hanin & Rolnick 1803.01719). The mean of ln q lies half of it below the
    logarithm of the mean, which mean-field theory gives.
    """
    return (5 * (depth - 1) + 2) / width


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
    low, high = measured * np.sqrt(dof / stats.chi2.ppf((0.975, 0.025), dof))
    variance = log_variance(results.sizes["layer"], width)
    return {
        "measured": measured,
        "low": float(low),
        "high": float(high),
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
    kind = "depth_limit" if np.isfinite(one["depth_limit"]).any() else "gradient_limit"
    depth, reach = one["depth"].to_numpy(), REACH * one[kind].to_numpy()
    within = depth[None, :] <= reach[:, None]
    return {
        "within": int(within.sum()),
        "within_trained": int((learned & within).sum()),
        "beyond": int((~within).sum()),
        "beyond_trained": int((learned & ~within).sum()),
        "depths": depth.tolist(),
        "rows": [
            {"variance": v, "reach": float(far), "losses": row.tolist()}
            for v, far, row in zip(one["variance"].values, reach, mean, strict=True)
        ],
    }
