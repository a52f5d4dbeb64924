"""What the records of sharpness against 2 / lr say.

Who learns, at which lr x sharpness, and where each input has its edge.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from birthmark.shapes import Array
from birthmark.statistics import compare_pairs, describe_pair, holm, interval
from ..abandonment.ends import find_collapse, find_onset
from ..frame import Facts, each

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


def find_fates(arm: xr.Dataset) -> Array:
    """Where each replica of an arm ended: the place of its fate in `FATES`, [R].

    From medians over the last epochs. Learned: an accuracy of at least 0.9. Abandoned:
    half of the examples below the clip of a clipped loss. Guesses: a loss within 5 % of
    ln K at an accuracy of at most 5 / K.
    """
    curves = arm[["train_loss", "train_accuracy", "below_eps"]]
    late = curves.dropna("epoch", how="all", subset=["train_loss"])
    late = late.isel(epoch=slice(-LAST, None)).median("epoch")
    accuracy_R, num_classes = late["train_accuracy"], int(arm.attrs["num_classes"])
    is_guess_R = np.abs(late["train_loss"] / math.log(num_classes) - 1) <= 0.05
    guesses_R = is_guess_R & (accuracy_R <= 5 / num_classes)
    abandoned_R = (late["below_eps"] >= 0.5) & (arm["loss"].item() == "clipped")
    fates = [accuracy_R >= LEARNED, abandoned_R, guesses_R]
    return np.select([one.to_numpy() for one in fates], [0, 1, 2], 3)


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
    arms = results.isel(arm=chosen.to_numpy()).sortby("lr")
    fates = [find_fates(arm) for arm in each(arms, "arm").values()]
    all_A = (np.array(fates) == 0).all(axis=1)
    lrs = arms["lr"].to_numpy()
    num = int(np.argmin(all_A)) if not all_A.all() else len(lrs)
    start, inputs = arms.isel(arm=0).sel(look=0), results.sel(input=pixels)
    looked = ("mean_share", "sharpness", "batch_sharpness")
    moments = ("mean_square_norm", "top_moment", "square_norm")
    return {
        "learn": float(lrs[num - 1]) if num else None,
        "fail": float(lrs[num]) if num < len(lrs) else None,
        **{name: interval(start[name]) for name in looked},
        **{name: float(inputs[name]) for name in moments},
    }


def weigh_laws(results: xr.Dataset) -> list[dict[str, Any]]:
    """For each quantity: is lr x quantity the same at the edge of all inputs?"""
    edges = [find_edges(results, name) for name in each(results, "input")]
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
    found = {"title": title, "low": low, "high": high, "miss": miss}
    return found | {"values": values, "is_possible": miss < 1}


def separate(results: xr.Dataset) -> dict[str, Any]:
    """How well lr x curvature tells clipped networks that learned from the others.

    By look and quantity, those that abandoned their examples against those that
    learned: the area under the ROC curve (1/2: not at all; 1: each that abandoned was
    above each that learned). And who learned at all: whether the start was above the
    edge, against whether half of the examples were ever right.
    """
    arms = results.isel(arm=(results["loss"] == "clipped").to_numpy())
    fates = np.ravel([find_fates(arm) for arm in each(arms, "arm").values()])
    learned, lost = fates == FATES.index("learned"), fates == FATES.index("abandoned")

    def flat(values: xr.DataArray) -> Array:
        return values.transpose("arm", "replica").to_numpy().ravel()

    lr, curvatures = arms["lr"].astype(np.float32), ("sharpness", "batch_sharpness")
    scaled = {name: lr * arms[name] for name in curvatures}
    signs = {"lr alone": flat(arms["lr"].expand_dims(replica=arms["replica"]))}
    for name, values in scaled.items():
        for look, when in EARLY.items():
            words = f"lr x {name.replace('_', ' ')} {when}"
            signs[words] = flat(values.sel(look=look))
    both = learned | lost
    rows = {
        title: {
            "area": find_area(x[both], lost[both]),
            "learned_at_most": float(x[learned].max(initial=-np.inf)),
            "abandoned_at_least": float(x[lost].min(initial=np.inf)),
        }
        for title, x in signs.items()
    }
    above = flat(scaled["sharpness"].sel(look=0)) > EDGE
    best = flat(arms["train_accuracy"].max("epoch"))
    most = flat(scaled["sharpness"].max("look"))
    return {
        "num": len(fates),
        "num_learned": int(learned.sum()),
        "num_abandoned": int(lost.sum()),
        "rows": rows,
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
    sample: int
    arms: Mapping[str, Mapping[str, Any]]
    inputs: Mapping[str, Mapping[str, Any]]
    laws: Sequence[Mapping[str, Any]]
    separation: Mapping[str, Any]
    focus: Mapping[str, Any]
    edge: float = EDGE
    early: int = max(EARLY)
    last: int = LAST
    learned: float = LEARNED
    fates: Sequence[str] = FATES


def summarize(results: xr.Dataset) -> SharpnessFacts:
    """Fates by arm, edges by input, what the sharpness does around the onset."""
    return SharpnessFacts.read(
        results,
        arms={name: _describe(arm) for name, arm in each(results, "arm").items()},
        inputs={name: find_edges(results, name) for name in each(results, "input")},
        laws=weigh_laws(results),
        separation=separate(results),
        focus=_follow(results),
    )


def _describe(arm: xr.Dataset) -> dict[str, Any]:
    fates, ends = find_fates(arm), arm["train_accuracy"].dropna("epoch", how="all")
    last = arm.isel(look=find_known(arm)).isel(look=-1)
    at, batch = scale_by_lr(arm), scale_by_lr(arm, "batch_sharpness")
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
        "early_batch": interval(batch.sel(look=max(EARLY))),
        "most": interval(at.max("look")),
        "end_sharpness": interval(last["sharpness"]),
        "end_below": interval(last["sample_below"]),
    }


def _follow(results: xr.Dataset) -> dict[str, Any]:
    """The focus: lr x sharpness before the onset, during it and at the end."""
    name = str(results.attrs["focus"])
    arm, other = (results.sel(arm=f"{name} {loss}") for loss in ("clipped", "logits"))
    onset_R = find_onset(arm["below_eps"].to_numpy())
    collapse_R = find_collapse(arm["train_accuracy"].to_numpy())
    found: dict[str, Any] = {
        "name": name,
        "num_onset": int(np.isfinite(onset_R).sum()),
        "onset": interval(onset_R),
        "collapse": interval(collapse_R),
        "before": BEFORE,
    }
    look_T1 = arm["look"].to_numpy()[:, None]
    curvatures = ("sharpness", "batch_sharpness")
    phases = {
        "early": (look_T1 >= 5) & (look_T1 < onset_R - BEFORE),
        "before": (look_T1 >= onset_R - BEFORE) & (look_T1 < onset_R),
        "during": (look_T1 >= onset_R) & (look_T1 < collapse_R),
        "after": look_T1 >= collapse_R,
    }
    scaled = {key: scale_by_lr(arm, key) for key in curvatures}
    for key, values in (scaled | {"sample_below": arm["sample_below"]}).items():
        by_phase = {p: _mean_inside(values.values, x) for p, x in phases.items()}
        found[key] = {phase: interval(mean_R) for phase, mean_R in by_phase.items()}
        found[f"{key}_rise"] = find_difference(by_phase["before"], by_phase["early"])
        if key in scaled:
            twin = _mean_inside(scale_by_lr(other, key).values, phases["before"])
            found[f"{key}_twin"] = interval(twin)
            found[f"{key}_against_twin"] = find_difference(by_phase["before"], twin)
    rises = [found[f"{key}_rise"] for key in curvatures]
    for rise, p in zip(rises, holm([one["p"] for one in rises]), strict=True):
        rise["p"] = float(p)
    twins = {"twin": scale_by_lr(other), "below": arm["sample_below"]}
    followed = {**scaled, **twins, "deviation": arm["deviation"]}
    found["aligned"] = {
        offset: {n: interval(_near(x, onset_R + offset)) for n, x in followed.items()}
        for offset in OFFSETS
    }
    whole = arm.isel(replica=0).dropna("look", subset=["whole_sharpness"])
    ratio = whole["sharpness"] / whole["whole_sharpness"]
    found["sample_error"] = float(abs(ratio - 1).median())
    last = arm.isel(look=find_known(arm)).isel(look=-1)
    ends = ("sharpness", "unclipped_sharpness", "sample_below")
    found["end"] = {key: interval(last[key]) for key in ends}
    found["end"]["epoch"] = int(last["look"])
    return found


def _near(values: xr.DataArray, epoch_R: Array) -> Array:
    """The value at the nearest look, NaN where none is within 3 epochs, [R]."""
    known = values.dropna("look", how="all")
    looks_T, rows_TR = known["look"].to_numpy(), known.transpose("look", ...).to_numpy()
    found = np.full(len(epoch_R), np.nan)
    for r, epoch in enumerate(epoch_R):
        away_T = np.abs(looks_T - epoch)
        if np.isfinite(epoch) and away_T.min() <= 3:
            found[r] = rows_TR[away_T.argmin(), r]
    return found


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
