"""What constant starts reach, and what breaks their ties, as facts for the page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from birthmark.statistics import interval
from ..frame import Facts, each
from .protocol import THEORY


@dataclass(frozen=True)
class ConstantStartFacts(Facts):
    """Final losses and accuracies, times until the tie is broken, end points."""

    protocol: str
    width: int
    constant: float
    dropout: float
    apart: float
    budget: int
    guess_loss: float
    num_replicas: int
    starts: Mapping[str, Mapping[str, Any]]
    ties: Mapping[str, Mapping[str, Any]]
    theory_gap: float
    narrow_best: float
    narrow_lr: float
    narrow_count: int
    narrow_guessing: int
    tied_best: float
    num_pairs: int
    ends: Mapping[str, Mapping[str, Any]]


def summarize(results: xr.Dataset) -> ConstantStartFacts:
    """Final losses and accuracies, times until the tie is broken, end points."""
    last = results.isel(epoch=-1)
    starts = {
        name: {
            "loss": interval(one["train_loss"][-1]),
            "accuracy": interval(one["test_accuracy"][-1]),
            "distinct": [int(x.max()) for x in one["distinct_units"].T],
            "active": float(one["active_share"].mean()),
        }
        for name, one in each(results, "start").items()
    }
    steps = apart_steps(results)
    budget = int(results["epoch"][-1]) * results.attrs["steps_per_epoch"]
    by_tie = each(results, "tie")
    tied, theory = by_tie["none"], by_tie.pop(THEORY)
    ties = {
        name: {
            "num_apart": int(np.isfinite(steps.sel(tie=name)).sum()),
            "steps": interval(steps.sel(tie=name).fillna(budget)),
            "last_spread": float(one["spread"][-1].max()),
            "loss": interval(one["tie_loss"][-1]),
        }
        for name, one in by_tie.items()
    }
    narrow, guess = results["narrow_loss"], float(np.log(results.attrs["num_classes"]))
    keys = [key for key in map(str, results) if key.startswith("end_")]
    return ConstantStartFacts.read(
        results,
        budget=budget,
        guess_loss=guess,
        starts=starts,
        ties=ties,
        theory_gap=float(np.abs(tied["tie_loss"] - theory["tie_loss"]).max()),
        narrow_best=float(narrow.min()),
        narrow_lr=float(narrow.min("narrow_replica").idxmin("lr")),
        narrow_count=int(narrow.size),
        narrow_guessing=int((narrow > 0.99 * guess).sum()),
        tied_best=float(last["train_loss"].sel(start="constant 0.01").min()),
        ends={
            name: {key.removeprefix("end_"): interval(one[key]) for key in keys}
            for name, one in each(results, "end_start").items()
        },
    )


def apart_steps(results: xr.Dataset) -> xr.DataArray:
    """Steps until the units are apart, by tie and replica; NaN: not within the budget.

    Between two epochs the spread is taken to grow exponentially.
    """
    spread_TER = results["spread"].transpose("tie", "epoch", "replica").to_numpy()
    epochs = results["epoch"].to_numpy()
    level = np.log(results.attrs["apart"])
    steps = np.full(spread_TER[:, 0].shape, np.nan)
    for (i, r), _ in np.ndenumerate(steps):
        logs = np.log(np.maximum(spread_TER[i, :, r], 1e-12))
        above = np.flatnonzero(logs >= level)
        if len(above) and above[0] == 0:
            steps[i, r] = 0.0
        elif len(above):
            k = above[0]
            share = (level - logs[k - 1]) / (logs[k] - logs[k - 1])
            steps[i, r] = epochs[k - 1] + share * (epochs[k] - epochs[k - 1])
    steps *= results.attrs["steps_per_epoch"]
    return xr.DataArray(steps, dims=("tie", "replica"), coords={"tie": results["tie"]})
