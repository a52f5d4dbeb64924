"""What the records of sharpness against 2 / lr say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from birthmark.shapes import Array
from birthmark.statistics import compare_pairs, describe_pair, holm, interval
from birthmark_experiments.abandonment.ends import find_collapse, find_onset
from birthmark_experiments.frame import Facts
from birthmark_experiments.sharpness.edges import (
    EARLY,
    EDGE,
    FATES,
    LAST,
    LEARNED,
    find_edges,
    find_fates,
    find_known,
    scale_by_lr,
    separate,
    weigh_laws,
)

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
