"""What thirty layers do to a signal, and who learns, as numbers for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from birthmark.shapes import Array
from birthmark.statistics import interval
from birthmark_experiments.critical_variance.scatter import log_variance
from birthmark_experiments.frame import Facts
from birthmark_experiments.frame.rankings import difference, read_rankings, tabulate

GAP_FLOOR = 1e-12  # of 1 - correlation: rounding hides what is smaller
PLATEAU = 0.95  # of the loss of a guess: who is below has begun to learn
_BIT = math.log(2)


@dataclass(frozen=True)
class DepthFacts(Facts):
    """Signals behind the last layer beside theory, and the comparison, by network."""

    protocol: str
    depth: int
    width: int
    num_draws: int
    num_replicas: int
    chance: float
    shift: float
    spread: Mapping[str, float]
    signals: Mapping[str, Mapping[str, Any]]
    gap_floor: float
    plateau: float
    side: int
    channels: int
    seen_share: float
    even_loss: float
    settled_loss: float
    comparisons: Mapping[str, Mapping[str, Any]]


def summarize(results: xr.Dataset) -> DepthFacts:
    """Signals behind the last layer beside theory, and the comparison, by network."""
    width = int(results.attrs["width"])
    depth = results.sizes["layer"]
    names = [str(name) for name in results["network"].to_numpy()]
    variance = log_variance(depth, width)
    he = results.sel(network="dense", initialization="He")
    return DepthFacts.read(
        results,
        depth=depth,
        width=width,
        num_draws=results.sizes["draw"],
        chance=math.log(10),
        shift=-variance / 2 / _BIT,
        spread={
            "theory": math.sqrt(variance) / _BIT,
            "measured": float(he["forward"][:, -1].std(ddof=1)),
        },
        signals={name: _read_signals(results.sel(network=name)) for name in names},
        gap_floor=GAP_FLOOR,
        plateau=PLATEAU * math.log(10),
        **_describe_padding(results),
        comparisons={
            name: _read_comparison(results.sel(network=name)) for name in names
        },
    )


def _describe_padding(results: xr.Dataset) -> dict[str, Any]:
    """What 3 x 3 kernels lose at the edges of the smallest maps, per layer.

    Along one side a place is used by itself and its neighbours: the matrix of ones on
    three diagonals, whose largest eigenvalue is 1 + 2 cos(pi / (side + 1)).
    """
    side = int(results.attrs["side"])
    even = (1 - 2 / (3 * side)) ** 2
    settled = ((1 + 2 * math.cos(math.pi / (side + 1))) / 3) ** 2
    return {
        "side": side,
        "channels": int(results.attrs["channels"]),
        "seen_share": even,
        "even_loss": -math.log2(even),
        "settled_loss": -math.log2(settled),
    }


def _read_signals(one: xr.Dataset) -> dict[str, dict[str, Any]]:
    """By initialization: what is left behind the last layer, with 95 % intervals."""
    rows = {}
    for name in one["initialization"].to_numpy():
        found = one.sel(initialization=name)
        theory = {
            reading: found[f"{reading}_theory"].mean("draw").to_numpy()
            for reading in ("forward", "backward", "gap")
        }
        last = {
            reading: found[reading].isel(layer=-1).to_numpy()
            for reading in ("forward", "gap")
        }
        backward_DL = found["backward"].transpose("draw", "layer").to_numpy()
        rows[str(name)] = {
            "forward": _beside(last["forward"], theory["forward"][-1]),
            "gap": {
                key: 10**value
                for key, value in _beside(last["gap"], theory["gap"][-1]).items()
            },
            # in the last layer theory may start from what was measured there
            "backward": _beside(
                backward_DL[:, 0] - backward_DL[:, -2],
                theory["backward"][0] - theory["backward"][-2],
            ),
        }
    return rows


def _beside(values_D: Array, theory: float) -> dict[str, float]:
    """A mean over draws with Student's 95 % interval, and mean-field theory."""
    return {**interval(values_D), "theory": float(theory)}


def _read_comparison(one: xr.Dataset) -> dict[str, Any]:
    rankings = read_rankings(one)
    loss = rankings["mean_test_loss"]
    names = [str(name) for name in one["initialization"].to_numpy()]
    one = one.dropna("step", subset=["test_loss"], how="all")
    tried = one.dropna("trial", subset=["scan_loss"], how="all")
    scan = tried["scan_loss"].transpose("initialization", "trial").to_numpy()
    final = one["test_loss"].isel(step=-1).transpose("initialization", "replica")
    return {
        "lr": dict(zip(names, map(float, one["chosen_lr"]), strict=True)),
        "num_steps": int(one["step"][-1]),
        "lrs": [float(lr) for lr in tried["scan_lr"]],
        "accuracy": tabulate(rankings["test_accuracy"]),
        "mean_loss": tabulate(loss),
        "final_loss": {
            name: float(np.mean(values))
            for name, values in zip(names, final.to_numpy(), strict=True)
        },
        "missed": {
            outcome: {
                name: row["num_censored"] for name, row in tabulate(ranking).items()
            }
            for outcome, ranking in rankings.items()
            if outcome.startswith("steps")
        },
        "against_xavier": {
            name: difference(loss, name, "Xavier") for name in names if name != "Xavier"
        },
        "scan": {
            name: [float(value) for value in row]
            for name, row in zip(names, scan, strict=True)
        },
    }
