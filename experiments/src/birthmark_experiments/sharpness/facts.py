"""What the records of sharpness against 2 / lr say.

Who learns, at which lr x sharpness, and where each input has its edge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from birthmark.shapes import Array
from birthmark.statistics import compare_pairs, describe_pair, holm, interval
from birthmark_experiments.abandonment.ends import find_collapse, find_onset
from birthmark_experiments.frame import Facts

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
    return float(stats.mannwhitneyu(high, low).statistic / (len(high) * len(low)))


BEFORE = 20  # epochs before the onset
OFFSETS = (-15, -10, -5, 0, 5, 10, 15, 20, 25, 30, 35)  # epochs from the onset


@dataclass(frozen=True)
class SharpnessFacts(Facts):
    """Fates by arm, edges by input, what the sharpness does around the onset."""

    protocol: str
    num_replicas: int
    eps: float
    edge: float
    early: int
    last: int
    learned: float
    sample: int
    batches: int
    fates: Sequence[str]
    arms: Mapping[str, Mapping[str, Any]]
    inputs: Mapping[str, Mapping[str, Any]]
    laws: Sequence[Mapping[str, Any]]
    separation: Mapping[str, Any]
    focus: Mapping[str, Any]


def summarize(results: xr.Dataset) -> SharpnessFacts:
    """Fates by arm, edges by input, what the sharpness does around the onset."""
    arms = {str(name): _describe(results, str(name)) for name in results["arm"].values}
    return SharpnessFacts.read(
        results,
        edge=EDGE,
        early=max(EARLY),
        last=LAST,
        learned=LEARNED,
        fates=list(FATES),
        arms=arms,
        inputs={str(n): find_edges(results, str(n)) for n in results["input"].values},
        laws=weigh_laws(results),
        separation=separate(results),
        focus=_follow(results),
    )


def _describe(results: xr.Dataset, name: str) -> dict[str, Any]:
    arm = results.sel(arm=name)
    fates = find_fates(arm, int(results.attrs["num_classes"]))
    ends = arm["train_accuracy"].dropna("epoch", how="all")
    looks = arm["look"].to_numpy()[find_known(arm)]
    last = arm.sel(look=looks[-1])
    at = scale_by_lr(arm)
    return {
        "pixels": str(arm["pixels"].item()),
        "loss": str(arm["loss"].item()),
        "lr": float(arm["lr"]),
        "epochs": int(ends["epoch"][-1]),
        "num": {fate: int((fates == i).sum()) for i, fate in enumerate(FATES)},
        "accuracy": interval(ends.isel(epoch=slice(-LAST, None)).median("epoch")),
        "best": interval(ends.max("epoch")),
        "start": interval(at.sel(look=0)),
        "early": interval(at.sel(look=max(EARLY))),
        "early_batch": interval(
            scale_by_lr(arm, "batch_sharpness").sel(look=max(EARLY))
        ),
        "most": interval(at.max("look")),
        "end": interval(at.sel(look=looks[-1])),
        "end_sharpness": interval(last["sharpness"]),
        "end_below": interval(last["sample_below"]),
        "mean_share_start": interval(arm["mean_share"].sel(look=0)),
        "mean_share_most": interval(arm["mean_share"].median("look")),
    }


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
                arm[key] if key == "sample_below" else scale_by_lr(arm, key)
            ).to_numpy()
            by_phase[phase] = _mean_inside(values, inside)
        found[key] = {p: interval(xr.DataArray(v)) for p, v in by_phase.items()}
        found[f"{key}_rise"] = find_difference(by_phase["before"], by_phase["early"])
        if key != "sample_below":
            twin = _mean_inside(scale_by_lr(other, key).to_numpy(), phases["before"])
            found[f"{key}_twin"] = interval(xr.DataArray(twin))
            found[f"{key}_against_twin"] = find_difference(by_phase["before"], twin)
    rises = [found[f"{key}_rise"] for key in ("sharpness", "batch_sharpness")]
    for rise, p in zip(rises, holm([one["p"] for one in rises]), strict=True):
        rise["p"] = float(p)
    found["aligned"] = {
        offset: {
            "sharpness": interval(_near(scale_by_lr(arm), onset_R + offset)),
            "batch_sharpness": interval(
                _near(scale_by_lr(arm, "batch_sharpness"), onset_R + offset)
            ),
            "twin": interval(_near(scale_by_lr(other), onset_R + offset)),
            "below": interval(_near(arm["sample_below"], onset_R + offset)),
            "deviation": interval(_near(arm["deviation"], onset_R + offset)),
        }
        for offset in OFFSETS
    }
    whole = arm.isel(replica=0).dropna("look", subset=["whole_sharpness"])
    ratio = whole["sharpness"] / whole["whole_sharpness"]
    found["sample_error"] = float(abs(ratio - 1).median())
    last = arm.sel(look=looks[find_known(arm)][-1])
    found["end"] = {
        key: interval(last[key])
        for key in ("sharpness", "unclipped_sharpness", "sample_below")
    }
    found["end"]["epoch"] = int(last["look"])
    return found


def _near(values: xr.DataArray, epoch_R: Array) -> xr.DataArray:
    """The value at the nearest look, NaN where none is within 3 epochs, [R]."""
    known = values.dropna("look", how="all")
    looks_T, rows_TR = known["look"].to_numpy(), known.transpose("look", ...).to_numpy()
    found = np.full(len(epoch_R), np.nan)
    for r, epoch in enumerate(epoch_R):
        away_T = np.abs(looks_T - epoch)
        if np.isfinite(epoch) and away_T.min() <= 3:
            found[r] = rows_TR[away_T.argmin(), r]
    return xr.DataArray(found)


def _mean_inside(values_TR: Array, inside_TR: Array) -> Array:
    """Means over the looks of a phase, NaN for a replica that has none, [R]."""
    inside = inside_TR & np.isfinite(values_TR)
    num = inside.sum(axis=0)
    total = np.where(inside, values_TR, 0).sum(axis=0)
    return np.where(num > 0, total / np.maximum(num, 1), np.nan)


def find_difference(a_R: Array, b_R: Array) -> dict[str, float]:
    """The difference a - b, paired by replica."""
    if np.isfinite(a_R + b_R).sum() < 2:
        return {"mean": math.nan, "low": math.nan, "high": math.nan, "p": math.nan}
    return describe_pair(compare_pairs(["a", "b"], np.stack([a_R, b_R]))[0])
