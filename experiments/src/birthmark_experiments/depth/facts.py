"""What thirty layers do to a signal, and who learns, as numbers for the page."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from birthmark.statistics import interval
from ..critical_variance.facts import log_variance
from ..frame import Facts, each
from ..frame.rankings import difference, read_rankings, tabulate

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
    shift: float
    spread: Mapping[str, float]
    signals: Mapping[str, Mapping[str, Any]]
    side: int
    channels: int
    seen_share: float
    even_loss: float
    settled_loss: float
    comparisons: Mapping[str, Mapping[str, Any]]
    chance: float = math.log(10)
    gap_floor: float = GAP_FLOOR
    plateau: float = PLATEAU * math.log(10)


def summarize(results: xr.Dataset) -> DepthFacts:
    """Signals behind the last layer beside theory, and the comparison, by network."""
    depth, networks = results.sizes["layer"], each(results, "network")
    variance = log_variance(depth, int(results.attrs["width"]))
    he = networks["dense"].sel(initialization="He")
    return DepthFacts.read(
        results,
        depth=depth,
        shift=-variance / 2 / _BIT,
        spread={
            "theory": math.sqrt(variance) / _BIT,
            "measured": float(he["forward"][:, -1].std(ddof=1)),
        },
        signals={name: _read_signals(one) for name, one in networks.items()},
        **_describe_padding(int(results.attrs["side"])),
        comparisons={name: _read_comparison(one) for name, one in networks.items()},
    )


def _describe_padding(side: int) -> dict[str, float]:
    """What 3 x 3 kernels lose at the edges of the smallest maps, per layer.

    Along one side a place is used by itself and its neighbours: the matrix of ones on
    three diagonals, whose largest eigenvalue is 1 + 2 cos(pi / (side + 1)).
    """
    even = (1 - 2 / (3 * side)) ** 2
    settled = ((1 + 2 * math.cos(math.pi / (side + 1))) / 3) ** 2
    losses = {"even_loss": -math.log2(even), "settled_loss": -math.log2(settled)}
    return {"seen_share": even, **losses}


def _read_signals(one: xr.Dataset) -> dict[str, dict[str, Any]]:
    """By initialization: what is left behind the last layer, with 95 % intervals."""
    rows = {}
    for name, found in each(one, "initialization").items():
        last = found.isel(layer=-1)
        # in the last layer theory may start from what was measured there
        rise = found[["backward", "backward_theory"]]
        back = rise.isel(layer=0) - rise.isel(layer=-2)
        gap = _beside(last, "gap")
        rows[name] = {
            "forward": _beside(last, "forward"),
            "gap": {key: 10**value for key, value in gap.items()},
            "backward": _beside(back, "backward"),
        }
    return rows


def _beside(found: xr.Dataset, name: str) -> dict[str, float]:
    """A mean over draws with Student's 95 % interval, and mean-field theory."""
    return {**interval(found[name]), "theory": float(found[f"{name}_theory"].mean())}


def _read_comparison(one: xr.Dataset) -> dict[str, Any]:
    rankings = read_rankings(one)
    loss = rankings["mean_test_loss"]
    one = one.dropna("step", subset=["test_loss"], how="all")
    tried = one.dropna("trial", subset=["scan_loss"], how="all")
    starts = each(tried, "initialization")
    return {
        "lr": {name: float(start["chosen_lr"]) for name, start in starts.items()},
        "num_steps": int(one["step"][-1]),
        "lrs": tried["scan_lr"].to_numpy().tolist(),
        "accuracy": tabulate(rankings["test_accuracy"]),
        "final_loss": {
            name: float(np.mean(start["test_loss"].isel(step=-1).to_numpy()))
            for name, start in starts.items()
        },
        "missed": {
            outcome: {one.name: one.num_censored for one in ranking.standings}
            for outcome, ranking in rankings.items()
            if outcome.startswith("steps")
        },
        "against_xavier": {
            n: difference(loss, n, "Xavier") for n in starts if n != "Xavier"
        },
        "scan": {n: start["scan_loss"].values.tolist() for n, start in starts.items()},
    }
