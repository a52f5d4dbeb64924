"""What the records of interventions at the onset say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr
from scipy import stats

from birthmark.statistics import describe_differences, interval
from birthmark_experiments.frame import Facts

GO_ON = "nothing"
LAST = 10  # epochs whose median is the end of an arm


@dataclass(frozen=True)
class RescueFacts(Facts):
    """By arm: ends, rescued replicas, and the paired difference to doing nothing."""

    protocol: str
    num_replicas: int
    num_trained: int
    eps: float
    onset_share: float
    more: int
    last: int
    nothing: str
    onset: Mapping[str, float]
    onset_accuracy: Mapping[str, float]
    onset_loss: Mapping[str, float]
    onset_below: Mapping[str, float]
    plateau: float
    arms: Mapping[str, Mapping[str, Any]]


def summarize(results: xr.Dataset) -> RescueFacts:
    """By arm: ends, rescued replicas, and the paired difference to doing nothing."""
    late = results.isel(epoch_after=slice(-LAST, None)).median("epoch_after")
    names = [str(name) for name in results["intervention"].to_numpy()]
    accuracy = late["train_accuracy"]
    rescued = accuracy >= results["onset_train_accuracy"]
    differences = describe_differences(
        {name: accuracy.sel(intervention=name) for name in names[1:]},
        accuracy.sel(intervention=GO_ON),
    )
    guess = math.log(results.attrs["num_classes"])
    arms = {}
    for name in names:
        one, num = (
            late.sel(intervention=name),
            int(rescued.sel(intervention=name).sum()),
        )
        share = stats.binomtest(num, results.sizes["replica"]).proportion_ci()
        arms[name] = {
            "num_rescued": num,
            "low": float(share.low),
            "high": float(share.high),
            "num_guessing": int((abs(one["train_loss"] / guess - 1) <= 0.02).sum()),
            "accuracy": interval(one["train_accuracy"]),
            "highest": interval(
                results["train_accuracy"].sel(intervention=name).max("epoch_after")
            ),
            "loss": interval(one["train_loss"]),
            "below": interval(one["below_eps"]),
            "num_loss_below": int(
                (one["train_loss"] <= results["onset_train_loss"]).sum()
            ),
        }
    for name, difference in differences.items():
        arms[name]["difference"] = difference
    return RescueFacts.read(
        results,
        num_trained=int(results.attrs["num_replicas"]),
        last=LAST,
        nothing=GO_ON,
        onset=interval(results["onset"]),
        onset_accuracy=interval(results["onset_train_accuracy"]),
        onset_loss=interval(results["onset_train_loss"]),
        onset_below=interval(results["onset_below_eps"]),
        plateau=-math.log(results.attrs["eps"]),
        arms=arms,
    )
