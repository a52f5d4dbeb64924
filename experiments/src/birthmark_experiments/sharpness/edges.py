"""Who learns, at which lr x sharpness, and where each input has its edge."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from birthmark.shapes import Array
from birthmark.statistics import interval

FATES = ("learned", "abandoned", "guesses", "between")
LEARNED = 0.9  # accuracy at the end
EDGE = 2.0  # lr x sharpness at which gradient descent on a quadratic diverges
# looks at the beginning
EARLY = {0: "at the start", 1: "after 1 epoch", 5: "after 5 epochs"}
HALF = 0.5  # of the examples right: something was learned
LAST = 5  # epochs whose median is the end
_QUANTITIES = {
    "sharpness": "sharpness at the start",
    "batch_sharpness": "batch sharpness at the start",
    "top_moment": "largest eigenvalue of E[xx']",
    "square_norm": "mean squared norm of an input",
}


def find_fates(arm: xr.Dataset, num_classes: int) -> Array:
    """Where each replica of an arm ended: the place of its fate in `FATES`, [R].

    From medians over the last epochs. Learned: an accuracy of at least 0.9. Abandoned:
    half of the examples below the clip of a clipped loss. Guesses: a loss within 5 % of
    ln K at an accuracy of at most 5 / K.
    """
    curves = arm[["train_loss", "train_accuracy", "below_eps"]]
    late = curves.dropna("epoch", how="all", subset=["train_loss"])
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


def scale_by_lr(arm: xr.Dataset, name: str = "sharpness") -> xr.DataArray:
    """Curvature in units of 1 / lr."""
    return arm[name] * float(arm["lr"])


def find_known(arm: xr.Dataset) -> Array:
    """At which looks the curvature of an arm was measured, [T] bool."""
    values_TR = arm["sharpness"].transpose("look", "replica").to_numpy()
    return np.asarray(np.isfinite(values_TR).any(axis=1))


def find_edges(results: xr.Dataset, pixels: str) -> dict[str, Any]:
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


def weigh_laws(results: xr.Dataset) -> list[dict[str, Any]]:
    """For each quantity: is lr x quantity the same at the edge of all inputs?"""
    edges = [find_edges(results, str(name)) for name in results["input"].values]
    if not all(one["learn"] and one["fail"] for one in edges):
        return []
    return [weigh_law(edges, name, title) for name, title in _QUANTITIES.items()]


def weigh_law(edges: list[dict[str, Any]], name: str, title: str) -> dict[str, Any]:
    """Whether lr x quantity may decide who learns.

    The edge of an input lies between the last learning rate at which all replicas
    learned and the next. The law is possible where these ranges of the product have a
    point in common; `miss` is the factor by which they fail to, above 1.
    """
    values = [
        one[name]["mean"] if isinstance(one[name], dict) else one[name] for one in edges
    ]
    low = [one["learn"] * v for one, v in zip(edges, values, strict=True)]
    high = [one["fail"] * v for one, v in zip(edges, values, strict=True)]
    miss = max(low) / min(high)
    return {
        "title": title,
        "values": values,
        "low": low,
        "high": high,
        "is_possible": miss < 1,
        "miss": miss,
    }


def separate(results: xr.Dataset) -> dict[str, Any]:
    """How well lr x curvature tells clipped networks that learned from the others.

    By look and quantity, those that abandoned their examples against those that
    learned: the area under the ROC curve (1/2: not at all; 1: each that abandoned was
    above each that learned). And who learned at all: whether the start was above the
    edge, against whether half of the examples were ever right.
    """
    arms = results.isel(arm=np.flatnonzero((results["loss"] == "clipped").to_numpy()))
    num_classes = int(results.attrs["num_classes"])
    each = [arms.isel(arm=i) for i in range(arms.sizes["arm"])]
    fates = np.array([find_fates(arm, num_classes) for arm in each]).ravel()
    learned, lost = fates == FATES.index("learned"), fates == FATES.index("abandoned")
    signs = {
        "lr alone": np.array(
            [[float(arm["lr"])] * arm.sizes["replica"] for arm in each]
        )
    }
    for name, title in (
        ("sharpness", "sharpness"),
        ("batch_sharpness", "batch sharpness"),
    ):
        for look, when in EARLY.items():
            signs[f"lr x {title} {when}"] = np.array(
                [scale_by_lr(arm, name).sel(look=look) for arm in each]
            )
    both = learned | lost
    rows = {
        title: {
            "area": find_area(x[both], lost[both]),
            "learned_at_most": float(x[learned].max(initial=-np.inf)),
            "abandoned_at_least": float(x[lost].min(initial=np.inf)),
        }
        for title, x in ((title, x_AR.ravel()) for title, x_AR in signs.items())
    }
    above = np.array([scale_by_lr(arm).sel(look=0) for arm in each]).ravel() > EDGE
    best = np.array([arm["train_accuracy"].max("epoch") for arm in each]).ravel()
    most = np.array([scale_by_lr(arm).max("look") for arm in each]).ravel()
    return {
        "num": len(fates),
        "num_learned": int(learned.sum()),
        "num_abandoned": int(lost.sum()),
        "rows": rows,
        "half": HALF,
        "above": int(above.sum()),
        "above_half": int((above & (best >= HALF)).sum()),
        "below": int((~above).sum()),
        "below_half": int((~above & (best >= HALF)).sum()),
        "learned_beyond": int((learned & (most > EDGE)).sum()),
        "learned_most": float(most[learned].max(initial=-np.inf)),
    }


def find_area(x: Array, is_high: Array) -> float:
    """The area under the ROC curve of x as a sign of being high; 1/2: none."""
    high, low = x[is_high], x[~is_high]
    if not len(high) or not len(low):
        return math.nan
    wins = (high[:, None] > low).mean() + (high[:, None] == low).mean() / 2
    return float(wins)
