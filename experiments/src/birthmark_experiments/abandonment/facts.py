"""What the records of clips from wide to none say.

Onset against ln eps: a line, what it foretold, and whether all lie on one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from birthmark.shapes import Array
from birthmark.statistics import (
    compare_pairs,
    describe_pair,
    holm,
    interval,
    interval_and_count,
)
from ..frame import Facts, each
from .ends import ONSET

HARD_EPOCH = 10  # whose losses say how hard an example is
FIRST_SHARE = 0.1  # of the examples, at most: those abandoned first
HARD_SHARE = 0.1  # of the examples, those with the largest early loss
_EVENTS = ("onset", "collapse", "death")
_CURVES = {"loss": "train_loss", "accuracy": "train_accuracy", "below": "below_eps"}


@dataclass(frozen=True)
class AbandonmentFacts(Facts):
    """Times of the ends by clip, their dependence on ln eps, and who goes first."""

    protocol: str
    num_replicas: int
    num_examples: int
    num_classes: int
    most: float  # that the clipped loss can be, nat
    budget: int
    steps: int
    onset_share: float
    fallen: float
    paper: str
    unclipped: str
    clips: Mapping[str, Mapping[str, Any]]
    line: Mapping[str, Any]
    by_share: Sequence[Mapping[str, Any]]
    literally: Mapping[str, int]  # by clip: replicas with the share in one epoch
    by_accuracy: Mapping[str, Any]
    against_unclipped: Mapping[str, Mapping[str, float]]
    below_at_most: Mapping[str, float]
    first: Mapping[str, Any]
    stay: Mapping[str, Any]
    num_ambiguous: int


def summarize(results: xr.Dataset) -> AbandonmentFacts:
    """Times of the ends by clip, their dependence on ln eps, and who goes first."""
    clips = each(results, "clip")
    *clipped, unclipped = clips
    paper = f"{float(results.attrs['paper_eps']):g}"
    budget = int(results["budget"].sel(clip=paper))
    return AbandonmentFacts.read(
        results,
        num_classes=int(results["label"].max()) + 1,
        most=-float(np.log(results.attrs["paper_eps"])),
        budget=budget,
        steps=int(budget * results.attrs["steps_per_epoch"]),
        onset_share=float(results.attrs["onset"]),
        paper=paper,
        unclipped=unclipped,
        clips={name: _describe(arm) for name, arm in clips.items()},
        line=describe_line(results.sel(clip=clipped)),
        by_share=[
            {"share": level, **_line_at(results, one["onset_at"])}
            for level, one in each(results, "level").items()
        ],
        literally={
            name: int((arm["below_eps"] >= ONSET).any("epoch").sum())
            for name, arm in clips.items()
        },
        by_accuracy=_line_at(results, results["collapse"]),
        against_unclipped=_compare_ends(clips[paper], clips[unclipped]),
        below_at_most={n: float(arm["below_eps"].max()) for n, arm in clips.items()},
        first=_describe_first(results, paper),
        stay=_describe_stay(clips[paper]),
    )


def _describe(arm: xr.Dataset) -> dict[str, Any]:
    """How often and when; epochs are of the replicas in which it was seen."""
    found: dict[str, Any] = {
        f"num_{name}": int(np.isfinite(arm[name]).sum()) for name in _EVENTS
    }
    found |= {name: interval_and_count(arm[name].to_numpy()) for name in _EVENTS}
    late, end = _end(arm)
    for short, name in _CURVES.items():
        found[f"final_{short}"] = interval(late[name].median("epoch"))
    return found | {
        "most_below": interval(arm["below_eps"].max("epoch")),
        "final_deviation": interval(end["deviation"]),
        "budget": int(arm["budget"]),
    }


def _line_at(results: xr.Dataset, epochs: xr.DataArray) -> dict[str, Any]:
    """The line of another event in place of the onset, and its epochs by clip."""
    clipped = results.assign(onset=epochs).isel(clip=slice(None, -1))
    by_clip = each(clipped["onset"], "clip").items()
    return describe_line(clipped) | {
        "epochs": {name: interval_and_count(one) for name, one in by_clip}
    }


def _end(arm: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """The last tenth of the epochs of an arm, and its last measurement."""
    budget = float(arm["budget"])
    epoch = arm["epoch"]
    late = arm.sel(epoch=(epoch > 0.9 * budget) & (epoch <= budget))
    return late, arm.sel(measured_epoch=budget)


def _compare_ends(a: xr.Dataset, b: xr.Dataset) -> dict[str, Any]:
    """Paired differences of the late losses, shares and deviations: a minus b."""
    ends = [_end(arm) for arm in (a, b)]
    values = {
        f"final_{short}": [late[name].median("epoch") for late, _ in ends]
        for short, name in _CURVES.items()
    }
    values["final_deviation"] = [end["deviation"] for _, end in ends]
    found = {}
    for name, both in values.items():
        [pair] = compare_pairs(["a", "b"], np.stack(both))
        found[name] = {**describe_pair(pair), "n": pair.n}
    return found


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
        "num_early": interval_and_count(early_RN.sum(axis=1)[seen]),
        "first_share": FIRST_SHARE,
        "share_before_onset": interval_and_count(before_RN.mean(axis=1)),
        "hard_share": HARD_SHARE,
        "hard_epoch": HARD_EPOCH,
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
    ratio = interval_and_count(np.log(with_R[known] / without_R[known]))
    return {
        "with": interval_and_count(with_R)["mean"],
        "without": interval_and_count(without_R)["mean"],
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
        found[name] = interval_and_count(stay[below > 0] / below[below > 0])
    return found | {"gap": int(np.diff(arm["followed_epoch"].to_numpy()[:2])[0])}


def describe_line(clipped: xr.Dataset) -> dict[str, Any]:
    """Epochs by which the onset is later for each factor of ten of the clip.

    By replica, which is the pair: `before`, the line through the clips that were run
    first; `foretold`, of each other clip, where that line puts it and where it was
    found; `all`, the line through all clips, and the `departure` from it; `inner`, the
    same without the widest clip.
    """
    decades_C = -np.log10(clipped["eps"].to_numpy())
    onset_CR = clipped["onset"].to_numpy()
    names = clipped["clip"].to_numpy()
    is_fitted_C = clipped["fitted"].to_numpy() > 0
    before = fit_lines(decades_C[is_fitted_C], onset_CR[is_fitted_C])
    foretold_CR = decades_C[:, None] * before[0] + before[1]
    whole_C = np.isfinite(onset_CR).all(axis=1)
    # the onset of the widest clip may be the start transient
    inner_C = whole_C & (decades_C > decades_C.min())
    return {
        "before": _describe_fit(decades_C, onset_CR, names, is_fitted_C),
        "all": _describe_fit(decades_C, onset_CR, names, np.ones(len(names), bool)),
        "foretold": _foretell(clipped, onset_CR, foretold_CR, names, ~is_fitted_C),
        "departure": {
            **find_departure(decades_C[whole_C], onset_CR[whole_C]),
            "clips": names[whole_C].tolist(),
        },
        "inner": {
            **find_departure(decades_C[inner_C], onset_CR[inner_C]),
            "decades": float(np.ptp(decades_C[inner_C])) if inner_C.any() else 0.0,
            "first": float(np.nanmin(onset_CR, initial=np.inf)),
        },
    }


def fit_lines(x_C: Array, y_CR: Array) -> Array:
    """Slope and intercept by replica, [2, R]; NaN with fewer than two points."""
    lines = np.full((2, y_CR.shape[1]), np.nan)
    for r, y_C in enumerate(y_CR.T):
        known = np.isfinite(y_C)
        if known.sum() >= 2:
            lines[:, r] = np.polyfit(x_C[known], y_C[known], 1)
    return lines


def find_departure(x_C: Array, y_CR: Array) -> dict[str, float]:
    """Whether the mean over replicas leaves a straight line: F of repeated measures.

    What the means of the clips leave of a line, over what single replicas leave beside
    that, each by degree of freedom; with three clips F is the square of Student's t of
    the second differences. `largest` is the largest distance of a mean from the line.
    NaN with fewer than three clips or two replicas.
    """
    num_clips, num_replicas = y_CR.shape
    if num_clips < 3 or num_replicas < 2:
        return dict.fromkeys(("f", "df", "df_error", "p", "largest"), float("nan"))
    slope_R, intercept_R = fit_lines(x_C, y_CR)
    left_CR = y_CR - x_C[:, None] * slope_R - intercept_R
    mean_C = left_CR.mean(axis=1)
    df = num_clips - 2
    df_error = df * (num_replicas - 1)
    common = num_replicas * (mean_C**2).sum() / df
    scatter = ((left_CR - mean_C[:, None]) ** 2).sum() / df_error
    f = common / scatter if scatter > 0 else np.nan
    return {
        "f": float(f),
        "df": df,
        "df_error": df_error,
        "p": float(stats.f.sf(f, df, df_error)),
        "largest": float(np.abs(mean_C).max()),
    }


def _describe_fit(
    x_C: Array, y_CR: Array, names: Array, use_C: Array
) -> dict[str, Any]:
    """A line through some clips: slope and intercept over replicas, and its misfit."""
    x_C, y_CR, names = x_C[use_C], y_CR[use_C], names[use_C]
    slope_R, intercept_R = fit_lines(x_C, y_CR)
    left_CR = y_CR - x_C[:, None] * slope_R - intercept_R
    return {
        "epochs": interval_and_count(slope_R),
        "intercept": interval_and_count(intercept_R),
        "residual": float(np.sqrt(interval_and_count(left_CR.ravel() ** 2)["mean"])),
        "clips": names[np.isfinite(y_CR).any(axis=1)].tolist(),
    }


def _foretell(
    clipped: xr.Dataset, onset_CR: Array, foretold_CR: Array, names: Array, use_C: Array
) -> list[dict[str, Any]]:
    """Measured against foretold onsets of the clips that the line had not seen.

    A difference is measured minus foretold; `p_holm` is over the clips tested.
    """
    tested_C = use_C & (np.isfinite(onset_CR).sum(axis=1) >= 2)
    pairs = {
        c: compare_pairs(["", ""], np.stack([onset_CR[c], foretold_CR[c]]))[0]
        for c in np.flatnonzero(tested_C)
    }
    adjusted = dict(zip(pairs, holm([p.p for p in pairs.values()]), strict=True))
    return [
        {
            "clip": str(names[c]),
            "foretold": interval_and_count(foretold_CR[c]),
            "measured": interval_and_count(onset_CR[c]),
            "num": int(np.isfinite(onset_CR[c]).sum()),
            "budget": int(clipped["budget"][c]),
            "difference": {**describe_pair(pairs[c]), "p_holm": float(adjusted[c])}
            if c in pairs
            else None,
        }
        for c in np.flatnonzero(use_C)
    ]
