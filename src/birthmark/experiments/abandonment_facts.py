"""What the records of clips from wide to none say."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from birthmark.analysis import compare_pairs
from birthmark.analysis import summarize as estimate
from birthmark.experiments.contests import interval
from birthmark.shapes import Array

FIRST_SHARE = 0.1  # of the examples, at most: those abandoned first
HARD_SHARE = 0.1  # of the examples, those with the largest early loss
_EVENTS = ("onset", "collapse", "death")


def summarize(results: xr.Dataset) -> dict[str, Any]:
    """Times of the ends by clip, their dependence on ln eps, and who goes first."""
    clips = [str(name) for name in results["clip"].to_numpy()]
    unclipped = clips[-1]
    paper = f"{float(results.attrs['paper_eps']):g}"
    budget = float(results.attrs["budget"])
    return {
        "protocol": results.attrs["protocol"],
        "num_replicas": int(results.sizes["replica"]),
        "num_examples": int(results.sizes["example"]),
        "budget": int(budget),
        "steps": int(budget * results.attrs["steps_per_epoch"]),
        "onset_share": float(results.attrs["onset"]),
        "fallen": float(results.attrs["fallen"]),
        "paper": paper,
        "unclipped": unclipped,
        "clips": {name: _describe(results.sel(clip=name), budget) for name in clips},
        "slope": _slope(results.sel(clip=clips[:-1]), budget),
        "against_unclipped": _compare_ends(results, paper, unclipped),
        "below_at_most": {
            name: float(results["below_eps"].sel(clip=name).max()) for name in clips
        },
        "first": _describe_first(results, paper),
        "stay": _describe_stay(results.sel(clip=paper)),
        "num_ambiguous": int(results.attrs["num_ambiguous"]),
    }


def _describe(arm: xr.Dataset, budget: float) -> dict[str, Any]:
    """How often and when; epochs are of the replicas in which it was seen."""
    found: dict[str, Any] = {
        f"num_{name}": int(np.isfinite(arm[name]).sum()) for name in _EVENTS
    }
    found |= {name: _mean(arm[name].to_numpy()) for name in _EVENTS}
    late = arm.sel(epoch=arm["epoch"] > 0.9 * budget)
    return found | {
        "final_loss": interval(late["train_loss"].median("epoch")),
        "final_accuracy": interval(late["train_accuracy"].median("epoch")),
        "final_below": interval(late["below_eps"].median("epoch")),
        "best_accuracy": interval(arm["train_accuracy"].max("epoch")),
        "final_deviation": interval(arm["deviation"].isel(measured_epoch=-1)),
    }


def _slope(clipped: xr.Dataset, budget: float) -> dict[str, Any]:
    """Epochs by which the onset is later for each factor of ten of the clip.

    By replica, which is the pair: a straight line through the clips at which abandoning
    was seen within the budget, how well it fits, and where it puts the other clips.
    """
    decades = -np.log10(clipped["eps"].to_numpy())
    onset_CR = clipped["onset"].to_numpy()
    lines = np.array([_line(decades, column) for column in onset_CR.T])  # [R, 2]
    fitted_CR = decades[:, None] * lines[:, 0] + lines[:, 1]
    seen = np.isfinite(onset_CR)
    names, any_C = clipped["clip"].to_numpy(), seen.any(axis=1)
    beyond = [(str(names[i]), _mean(fitted_CR[i])) for i in np.flatnonzero(~any_C)]
    return {
        "epochs": _mean(lines[:, 0]),
        "intercept": _mean(lines[:, 1]),
        "residual": float(np.sqrt(np.mean((fitted_CR - onset_CR)[seen] ** 2))),
        "clips": [str(name) for name in names[any_C]],
        "unseen": [{"clip": name, "epoch": epoch} for name, epoch in beyond],
        "all_unseen_lie_beyond": all(epoch["low"] > budget for _, epoch in beyond),
    }


def _line(x: Array, y: Array) -> Array:
    """Slope and intercept by least squares; NaN with fewer than two points."""
    known = np.isfinite(y)
    if known.sum() < 2:
        return np.full(2, np.nan)
    return np.polyfit(x[known], y[known], 1)


def _compare_ends(results: xr.Dataset, a: str, b: str) -> dict[str, Any]:
    """Paired differences of the late losses, shares and deviations: a minus b."""
    late = results.sel(epoch=results["epoch"] > 0.9 * results.attrs["budget"])
    values = {
        "final_loss": late["train_loss"].median("epoch"),
        "final_accuracy": late["train_accuracy"].median("epoch"),
        "final_below": late["below_eps"].median("epoch"),
        "final_deviation": results["deviation"].isel(measured_epoch=-1),
    }
    return {name: _pair(one.sel(clip=[a, b])) for name, one in values.items()}


def _pair(values: xr.DataArray) -> dict[str, float]:
    [pair] = compare_pairs(["a", "b"], values.transpose("clip", "replica").to_numpy())
    return {
        "mean": pair.difference,
        "low": pair.low,
        "high": pair.high,
        "p": pair.p,
        "n": pair.n,
    }


def _describe_first(results: xr.Dataset, clip: str) -> dict[str, Any]:
    """Who is abandoned first: shares with and without a property.

    The first are those below the clip at the earliest kept epochs, as many of these as
    keep them a tenth of all examples at most: in a spike of the loss nearly all are
    below it at once. A ratio is the share of them among those with the property over
    that among the others, by replica; its mean is geometric.
    """
    onset_R = results["onset"].sel(clip=clip).to_numpy()
    first_RN = results["first_below"].to_numpy()
    early_RN = np.array([_find_first(first_N) for first_N in first_RN])
    before_RN = (first_RN >= 0) & (first_RN <= onset_R[:, None])
    seen = early_RN.any(axis=1)
    loss_RN = results["early_loss"].to_numpy()
    hard_RN = loss_RN >= np.quantile(loss_RN, 1 - HARD_SHARE, axis=1)[:, None]
    odd_RN = np.broadcast_to(results["odd_neighbour"].to_numpy() > 0, hard_RN.shape)
    return {
        "num_early": _mean(early_RN.sum(axis=1)[seen]),
        "first_share": FIRST_SHARE,
        "share_before_onset": _mean(before_RN.mean(axis=1)),
        "hard_share": HARD_SHARE,
        "odd_share": float(odd_RN[0].mean()),
        "hard": _enrichment(early_RN[seen], hard_RN[seen]),
        "odd": _enrichment(early_RN[seen], odd_RN[seen]),
    }


def _find_first(first_N: Array) -> Array:
    """Those of the earliest epochs that together have few enough, [N] bool."""
    epochs, counts = np.unique(first_N[first_N >= 0], return_counts=True)
    few = epochs[np.cumsum(counts) <= FIRST_SHARE * len(first_N)]
    return np.asarray(np.isin(first_N, few))


def _enrichment(early_RN: Array, has_RN: Array) -> dict[str, Any]:
    with_R = (early_RN & has_RN).sum(axis=1) / has_RN.sum(axis=1)
    without_R = (early_RN & ~has_RN).sum(axis=1) / (~has_RN).sum(axis=1)
    known = (with_R > 0) & (without_R > 0)
    ratio = _mean(np.log(with_R[known] / without_R[known]))
    return {
        "with": _mean(with_R)["mean"],
        "without": _mean(without_R)["mean"],
        "ratio": {k: float(np.exp(ratio[k])) for k in ("mean", "low", "high")},
    }


def _describe_stay(arm: xr.Dataset) -> dict[str, Any]:
    """Of the examples below the clip, the share that is so at the next kept epoch."""
    followed = arm["followed_epoch"].to_numpy()[:, None]
    before = followed < np.nan_to_num(arm["onset"].to_numpy(), nan=np.inf)
    found = {}
    for name, when in (("before", before), ("after", ~before)):
        below, stay = (
            np.where(when, arm[one].to_numpy(), 0).sum(axis=0)
            for one in ("num_below", "num_stay")
        )
        found[name] = _mean(stay[below > 0] / below[below > 0])
    return found | {"gap": int(np.diff(arm["followed_epoch"].to_numpy()[:2])[0])}


def _mean(values: npt.ArrayLike) -> dict[str, float]:
    found = estimate(values)
    return {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n}
