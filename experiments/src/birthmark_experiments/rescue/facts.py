"""What the records of interventions at the onset say."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr
from scipy import stats

from birthmark.statistics import describe_differences, interval
from ..frame import Facts, each

GO_ON = "nothing"
LAST = 10  # epochs whose median is the end of an arm


@dataclass(frozen=True)
class RescueFacts(Facts):
    """By arm: ends, rescued replicas, and the paired difference to doing nothing."""

    protocol: str
    num_replicas: int
    num_trained: int
    eps: float
    more: int
    onset: Mapping[str, float]
    onset_accuracy: Mapping[str, float]
    onset_below: Mapping[str, float]
    arms: Mapping[str, Mapping[str, Any]]
    last: int = LAST
    nothing: str = GO_ON


def summarize(results: xr.Dataset) -> RescueFacts:
    """By arm: ends, rescued replicas, and the paired difference to doing nothing."""
    late = results.isel(epoch_after=slice(-LAST, None)).median("epoch_after")
    accuracies = each(late["train_accuracy"], "intervention")
    differences = describe_differences(accuracies, accuracies.pop(GO_ON))
    guess = math.log(results.attrs["num_classes"])
    highest = results["train_accuracy"].max("epoch_after")
    arms = {}
    for name, one in each(late, "intervention").items():
        num = int((one["train_accuracy"] >= results["onset_train_accuracy"]).sum())
        below = one["train_loss"] <= results["onset_train_loss"]
        share = stats.binomtest(num, results.sizes["replica"]).proportion_ci()
        arms[name] = {
            "num_rescued": num,
            "low": float(share.low),
            "high": float(share.high),
            "num_guessing": int((abs(one["train_loss"] / guess - 1) <= 0.02).sum()),
            "accuracy": interval(one["train_accuracy"]),
            "highest": interval(highest.sel(intervention=name)),
            "below": interval(one["below_eps"]),
            "num_loss_below": int(below.sum()),
        }
    for name, difference in differences.items():
        arms[name]["difference"] = difference
    return RescueFacts.read(
        results,
        num_trained=int(results.attrs["num_replicas"]),
        onset=interval(results["onset"]),
        onset_accuracy=interval(results["onset_train_accuracy"]),
        onset_below=interval(results["onset_below_eps"]),
        arms=arms,
    )
