"""Onset against ln eps: a line, what it foretold, and whether all lie on one."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from birthmark.shapes import Array
from birthmark.statistics import compare_pairs, describe_pair, holm, interval_and_count


def describe_line(clipped: xr.Dataset) -> dict[str, Any]:
    """Epochs by which the onset is later for each factor of ten of the clip.

    By replica, which is the pair.

    Returns:
        `before`: the line through the clips that were run first. `foretold`: of each
        other clip, where that line puts it, where it was found, and the difference.
        `all`: the line through all clips. `departure`: from it, see
        `find_departure`; `inner`: the same without the widest clip.
    """
    decades_C = -np.log10(clipped["eps"].to_numpy())
    onset_CR = clipped["onset"].to_numpy()
    names = np.array([str(name) for name in clipped["clip"].to_numpy()])
    is_fitted_C = clipped["fitted"].to_numpy() > 0
    before = fit_lines(decades_C[is_fitted_C], onset_CR[is_fitted_C])
    foretold_CR = decades_C[:, None] * before[0] + before[1]
    whole_C = np.isfinite(onset_CR).all(axis=1)
    return {
        "before": _describe(decades_C, onset_CR, names, is_fitted_C),
        "all": _describe(decades_C, onset_CR, names, np.ones(len(names), bool)),
        "foretold": _compare(clipped, onset_CR, foretold_CR, names, ~is_fitted_C),
        "departure": {
            **find_departure(decades_C[whole_C], onset_CR[whole_C]),
            "clips": names[whole_C].tolist(),
        },
        "inner": _depart_without_widest(decades_C, onset_CR, whole_C),
    }


def _depart_without_widest(
    decades_C: Array, onset_CR: Array, whole_C: Array
) -> dict[str, float]:
    """The same without the widest clip, whose onset may be the start transient."""
    inner_C = whole_C & (decades_C > decades_C.min())
    span = float(np.ptp(decades_C[inner_C])) if inner_C.any() else 0.0
    found = find_departure(decades_C[inner_C], onset_CR[inner_C])
    return found | {
        "decades": span,
        "first": float(np.nanmin(onset_CR, initial=np.inf)),
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
    that, each by degree of freedom. With three clips F is the square of Student's t of
    the second differences.

    Args:
        x_C: Clips, in decades.
        y_CR: Onsets, none missing.

    Returns:
        `f`, `df`, `df_error`, `p`, and `largest`: the largest distance of a mean from
        the line, in the units of y. NaN with fewer than three clips or two replicas.
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


def _describe(x_C: Array, y_CR: Array, names: Array, use_C: Array) -> dict[str, Any]:
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


def _compare(
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
