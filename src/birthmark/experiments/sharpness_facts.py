"""What the records of sharpness against 2 / lr say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from birthmark.analysis import compare_pairs
from birthmark.experiments.abandonment import find_collapse, find_onset
from birthmark.experiments.contests import interval
from birthmark.shapes import Array

FATES = ("learned", "abandoned", "guesses", "between")
LEARNED = 0.9  # accuracy at the end
EDGE = 2.0  # lr x sharpness at which gradient descent on a quadratic diverges
EARLY = 1  # epoch of the look that stands for the beginning
LAST = 5  # epochs whose median is the end
BEFORE = 20  # epochs before the onset
_QUANTITIES = {
    "sharpness": "sharpness at the start",
    "batch_sharpness": "batch sharpness at the start",
    "top_moment": "largest eigenvalue of E[xx']",
    "square_norm": "mean squared norm of an input",
}


def summarize(results: xr.Dataset) -> dict[str, Any]:
    """Fates by arm, edges by input, what the sharpness does around the onset."""
    attrs = results.attrs
    arms = {str(name): _describe(results, str(name)) for name in results["arm"].values}
    return {
        "protocol": attrs["protocol"],
        "num_replicas": int(results.sizes["replica"]),
        "eps": float(attrs["eps"]),
        "edge": EDGE,
        "early": EARLY,
        "last": LAST,
        "learned": LEARNED,
        "sample": int(attrs["sample"]),
        "batches": int(attrs["batches"]),
        "fates": list(FATES),
        "arms": arms,
        "inputs": {str(n): _edges(results, str(n)) for n in results["input"].values},
        "laws": _laws(results),
        "separation": _separate(results),
        "focus": _follow(results),
    }


def find_fates(arm: xr.Dataset, num_classes: int) -> Array:
    """Where each replica of an arm ended: the place of its fate in `FATES`, [R].

    From medians over the last epochs. Learned: an accuracy of at least 0.9. Abandoned:
    half of the examples below the clip of a clipped loss. Guesses: a loss within 5 % of
    ln K at an accuracy of at most 5 / K.
    """
    late = arm.dropna("epoch", how="all", subset=["train_loss"])
    late = late.isel(epoch=slice(-LAST, None)).median("epoch")
    accuracy_R = late["train_accuracy"].to_numpy()
    guess = math.log(num_classes)
    guesses_R = (np.abs(late["train_loss"].to_numpy() / guess - 1) <= 0.05) & (
        accuracy_R <= 5 / num_classes
    )
    is_clipped = str(arm["loss"].item()) == "clipped"
    abandoned_R = (late["below_eps"].to_numpy() >= 0.5) & is_clipped
    found: Array = np.select(
        [accuracy_R >= LEARNED, abandoned_R, guesses_R], [0, 1, 2], 3
    )
    return found


def scaled(arm: xr.Dataset, name: str = "sharpness") -> xr.DataArray:
    """Learning rate times sharpness, (look, replica)."""
    return arm[name] * float(arm["lr"])


def _describe(results: xr.Dataset, name: str) -> dict[str, Any]:
    arm = results.sel(arm=name)
    fates = find_fates(arm, int(results.attrs["num_classes"]))
    ends = arm["train_accuracy"].dropna("epoch", how="all")
    looks = arm["look"][np.isfinite(arm["sharpness"]).any("replica")]
    last = arm.sel(look=looks[-1])
    at = scaled(arm)
    return {
        "pixels": str(arm["pixels"].item()),
        "loss": str(arm["loss"].item()),
        "lr": float(arm["lr"]),
        "epochs": int(ends["epoch"][-1]),
        "num": {fate: int((fates == i).sum()) for i, fate in enumerate(FATES)},
        "accuracy": interval(ends.isel(epoch=slice(-LAST, None)).median("epoch")),
        "best": interval(ends.max("epoch")),
        "start": interval(at.sel(look=0)),
        "early": interval(at.sel(look=EARLY)) if EARLY in looks else None,
        "most": interval(at.max("look")),
        "most_batch": interval(scaled(arm, "batch_sharpness").max("look")),
        "end": interval(at.sel(look=looks[-1])),
        "end_sharpness": interval(last["sharpness"]),
        "end_below": interval(last["sample_below"]),
        "mean_share_start": interval(arm["mean_share"].sel(look=0)),
        "mean_share_most": interval(arm["mean_share"].median("look")),
    }


def _edges(results: xr.Dataset, pixels: str) -> dict[str, Any]:
    """Between which learning rates networks with these inputs cease to learn."""
    chosen = (results["pixels"] == pixels) & (results["loss"] == "clipped")
    arms = results.isel(arm=np.flatnonzero(chosen.to_numpy())).sortby("lr")
    fates_AR = np.array(
        [
            find_fates(arms.isel(arm=i), int(results.attrs["num_classes"]))
            for i in range(arms.sizes["arm"])
        ]
    )
    all_A = (fates_AR == 0).all(axis=1)
    lrs = arms["lr"].to_numpy()
    num = int(np.argmin(all_A)) if not all_A.all() else len(lrs)
    start = arms.isel(arm=0).sel(look=0)
    found: dict[str, Any] = {
        "learn": float(lrs[num - 1]) if num else None,
        "fail": float(lrs[num]) if num < len(lrs) else None,
        "mean_square_norm": float(results["mean_square_norm"].sel(input=pixels)),
        "mean_share": interval(start["mean_share"]),
    }
    for name in ("sharpness", "batch_sharpness"):
        found[name] = interval(start[name])
    for name in ("top_moment", "square_norm"):
        found[name] = float(results[name].sel(input=pixels))
    return found


def _laws(results: xr.Dataset) -> list[dict[str, Any]]:
    """Is lr x quantity the same at the edge of all inputs?

    The edge of an input lies between the last learning rate at which all replicas
    learned and the next. A law that lr x quantity decides is possible where these
    ranges of the product have a point in common.
    """
    edges = [_edges(results, str(name)) for name in results["input"].values]
    found = []
    for quantity, title in _QUANTITIES.items():
        values = [
            one[quantity]["mean"] if isinstance(one[quantity], dict) else one[quantity]
            for one in edges
        ]
        known = all(one["learn"] and one["fail"] for one in edges)
        if not known:
            continue
        low = [one["learn"] * v for one, v in zip(edges, values, strict=True)]
        high = [one["fail"] * v for one, v in zip(edges, values, strict=True)]
        found.append(
            {
                "title": title,
                "values": values,
                "low": low,
                "high": high,
                "is_possible": max(low) < min(high),
                "miss": max(low) / min(high),
            }
        )
    return found


def _separate(results: xr.Dataset) -> dict[str, Any]:
    """How well lr x sharpness tells networks that learned from the others.

    The area under the ROC curve over all replicas of the clipped arms (1/2: not at all;
    1: each that failed was above each that learned), and how many lie on the side of
    the edge on which theory has them.
    """
    arms = results.isel(arm=np.flatnonzero((results["loss"] == "clipped").to_numpy()))
    num_classes = int(results.attrs["num_classes"])
    fates = np.array(
        [find_fates(arms.isel(arm=i), num_classes) for i in range(arms.sizes["arm"])]
    )
    failed = (fates != 0).ravel()
    found: dict[str, Any] = {"num": len(failed), "num_failed": int(failed.sum())}
    for key, name, look in (
        ("start", "sharpness", 0),
        ("early", "sharpness", EARLY),
        ("batch_start", "batch_sharpness", 0),
        ("batch_early", "batch_sharpness", EARLY),
        ("most", "sharpness", None),
    ):
        values = arms["lr"] * arms[name].transpose("arm", "look", "replica")
        one = values.max("look") if look is None else values.sel(look=look)
        x = one.to_numpy().ravel()
        inside = np.isfinite(x)
        above = x[inside] > EDGE
        found[key] = {
            "auc": _auc(x[inside], failed[inside]),
            "num_right": int((above == failed[inside]).sum()),
            "num_above": int(above.sum()),
            "learned_at_most": float(x[inside & ~failed].max(initial=0)),
            "failed_at_least": float(x[inside & failed].min(initial=np.inf)),
        }
    return found


def _auc(x: Array, is_high: Array) -> float:
    high, low = x[is_high], x[~is_high]
    if not len(high) or not len(low):
        return math.nan
    wins = (high[:, None] > low).mean() + (high[:, None] == low).mean() / 2
    return float(wins)


def _follow(results: xr.Dataset) -> dict[str, Any]:
    """The focus: lr x sharpness before the onset, during it and at the end."""
    name = str(results.attrs["focus"])
    arm, other = (results.sel(arm=f"{name} {loss}") for loss in ("clipped", "logits"))
    onset_R = find_onset(arm["below_eps"].to_numpy())
    collapse_R = find_collapse(arm["train_accuracy"].to_numpy())
    found: dict[str, Any] = {
        "name": name,
        "lr": float(arm["lr"]),
        "line": EDGE / float(arm["lr"]),
        "num_onset": int(np.isfinite(onset_R).sum()),
        "onset": interval(xr.DataArray(onset_R)),
        "collapse": interval(xr.DataArray(collapse_R)),
        "before": BEFORE,
    }
    looks = arm["look"].to_numpy()
    phases = {
        "early": (looks[:, None] >= 5) & (looks[:, None] < onset_R - BEFORE),
        "before": (looks[:, None] >= onset_R - BEFORE) & (looks[:, None] < onset_R),
        "during": (looks[:, None] >= onset_R) & (looks[:, None] < collapse_R),
        "after": looks[:, None] >= collapse_R,
    }
    for key in ("sharpness", "batch_sharpness", "sample_below"):
        by_phase = {}
        for phase, inside in phases.items():
            values = (
                arm[key] if key == "sample_below" else scaled(arm, key)
            ).to_numpy()
            by_phase[phase] = _mean_inside(values, inside)
        found[key] = {p: interval(xr.DataArray(v)) for p, v in by_phase.items()}
        found[f"{key}_rise"] = _difference(by_phase["before"], by_phase["early"])
        if key != "sample_below":
            twin = _mean_inside(scaled(other, key).to_numpy(), phases["before"])
            found[f"{key}_twin"] = interval(xr.DataArray(twin))
            found[f"{key}_against_twin"] = _difference(by_phase["before"], twin)
    last = arm.sel(look=looks[np.isfinite(arm["sharpness"].to_numpy()).any(axis=1)][-1])
    found["end"] = {
        key: interval(last[key])
        for key in ("sharpness", "unclipped_sharpness", "sample_below")
    }
    found["end"]["epoch"] = int(last["look"])
    return found


def _mean_inside(values_TR: Array, inside_TR: Array) -> Array:
    """Means over the looks of a phase, NaN for a replica that has none, [R]."""
    inside = inside_TR & np.isfinite(values_TR)
    num = inside.sum(axis=0)
    total = np.where(inside, values_TR, 0).sum(axis=0)
    return np.where(num > 0, total / np.maximum(num, 1), np.nan)


def _difference(a_R: Array, b_R: Array) -> dict[str, float]:
    """The difference a - b, paired by replica."""
    if np.isfinite(a_R + b_R).sum() < 2:
        return {"mean": math.nan, "low": math.nan, "high": math.nan, "p": math.nan}
    pair = compare_pairs(["a", "b"], np.stack([a_R, b_R]))[0]
    return {
        "mean": pair.difference,
        "low": pair.low,
        "high": pair.high,
        "p": float(pair.p),
    }
