"""What the records of the four tests near the start say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from birthmark.statistics import describe_differences, interval
from birthmark_experiments.frame import Facts
from birthmark_experiments.near_the_start.claims import Kept, Trials, find_claims
from birthmark_experiments.paper.claims import Claim

GOOD = 2.0  # times the train loss of free training: as good, in the ball
LEARNED = 0.5  # of the examples right, at least: what can be lost


@dataclass(frozen=True)
class NearTheStartFacts(Facts):
    """Means with intervals along each test, and paired differences."""

    protocol: str
    num_replicas: int
    line: Mapping[str, Any]
    reset: Mapping[str, Mapping[str, Any]]
    ball: Mapping[str, Any]
    moved: Mapping[str, Any]
    good: float
    claims: Sequence[Claim]


def summarize(results: xr.Dataset) -> NearTheStartFacts:
    """Means with intervals along each test, and paired differences."""
    return NearTheStartFacts.read(
        results,
        line=_describe_line(results),
        reset=_table(results, "reset", "reset"),
        ball=_describe_ball(results),
        moved=_describe_moves(results),
        good=GOOD,
        claims=find_claims([_read_trials(results)]),
    )


def _describe_line(results: xr.Dataset) -> dict[str, Any]:
    alphas = results["alpha"].to_numpy()
    loss_AR = results["line_train_loss"].transpose("alpha", "replica").to_numpy()
    inside = (alphas >= 0) & (alphas <= 1)
    rises = np.diff(loss_AR[inside], axis=0).max(axis=0)
    best_R = alphas[loss_AR.argmin(axis=0)]
    return {
        "table": _table(results, "line", "alpha"),
        "best_alpha": interval(best_R),
        "largest_rise": float(rises.max()),
        "beyond": interval(results["line_train_loss"].isel(alpha=-1)),
        "before": interval(results["line_train_loss"].isel(alpha=0)),
        "last_alpha": float(alphas[-1]),
        "first_alpha": float(alphas[0]),
    }


def _describe_ball(results: xr.Dataset) -> dict[str, Any]:
    """The smallest ball in which the train loss is as good as that of free training."""
    loss = results["ball_train_loss"].transpose("radius", "replica").to_numpy()
    free = results["moved_end_train_loss"].sel(move=0).to_numpy()
    radii = results["radius"].to_numpy()
    good = loss <= GOOD * free
    least = np.where(good.any(axis=0), radii[good.argmax(axis=0)], np.nan)
    accuracy = results["ball_test_accuracy"]
    best = accuracy.mean("replica").idxmax("radius")
    return {
        "table": _table(results, "ball", "radius"),
        "least_good": interval(least),
        "best_accuracy_radius": float(best),
        "differences": _against(
            accuracy, results["moved_end_test_accuracy"].sel(move=0), "radius"
        ),
    }


def _describe_moves(results: xr.Dataset) -> dict[str, Any]:
    """Ends of training from moved starts, against the end from the start itself."""
    table = _table(results, "moved_end", "move")
    first = _table(results, "moved", "move")
    for key, row in table.items():
        one = results.sel(move=key)
        row["way"] = interval(one["moved_way"])
        row["from_start"] = interval(one["moved_from_start"])
        row["before"] = first[key]["train_loss"]
    moved = results.sel(move=results["move"] > 0)
    unmoved = results.sel(move=0)
    return {
        "table": table,
        "accuracy": _against(
            moved["moved_end_test_accuracy"], unmoved["moved_end_test_accuracy"], "move"
        ),
        "log_loss": _against(
            xr.ufuncs.log(moved["moved_end_train_loss"]),
            xr.ufuncs.log(unmoved["moved_end_train_loss"]),
            "move",
        ),
        "way": _against(moved["moved_way"], unmoved["moved_way"], "move"),
    }


def _table(results: xr.Dataset, prefix: str, dim: str) -> dict[Any, dict[str, Any]]:
    names = ("train_loss", "test_loss", "test_accuracy")
    return {
        key: {n: interval(results[f"{prefix}_{n}"].sel({dim: key})) for n in names}
        for key in results[dim].to_numpy().tolist()
    }


def _against(
    values: xr.DataArray, reference: xr.DataArray, dim: str
) -> dict[Any, dict[str, float]]:
    keys = values[dim].to_numpy().tolist()
    each = {key: values.sel({dim: key}).to_numpy() for key in keys}
    return describe_differences(each, reference.to_numpy())


def _read_trials(results: xr.Dataset) -> Trials:
    """For claim (g): the widest ball that is narrower than the way of training."""
    radius = max(r for r in results["radius"].to_numpy().tolist() if r < 1)
    accuracy = results["ball_test_accuracy"].sel(radius=radius)
    free = results.sel(move=0)
    learned_R = free["moved_end_test_accuracy"].to_numpy() >= LEARNED
    gain_R = (accuracy - free["moved_end_test_accuracy"]).to_numpy()
    name = f"in a ball of {radius:g} around the start"
    return Trials(
        "loss from logits",
        ~learned_R,
        Kept(name, gain_R, accuracy.to_numpy() < LEARNED),
    )
