"""How much likelier examples with a trait are abandoned than those without it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from birthmark.seeds import stream
from birthmark.shapes import Array
from birthmark_experiments.frame import labelled

RESAMPLES = 2000
CIRCULAR = {("hard", "early")}  # the early loss would tell of itself
BOUNDS = ("value", "low", "high")


def find_ratios(counts: xr.Dataset) -> xr.DataArray:
    """Of those at risk, the share first below the clip: with a trait over without.

    Of all replicas together, with 95 % percentiles of a bootstrap over classes.

    Args:
        counts: `num_first` and `num_risk` (stage, trait, replica, class).

    Returns:
        Dims (bound, stage, trait); NaN where the trait would tell of itself, or where
        no example has it.
    """
    sums = counts[["num_first", "num_risk"]].sum("replica")
    stages, traits = (counts[dim].to_numpy().tolist() for dim in ("stage", "trait"))
    found = np.full((len(BOUNDS), len(stages), len(traits)), np.nan)
    for s, p in np.ndindex(found.shape[1:]):
        if (traits[p], stages[s]) not in CIRCULAR and traits[p] != "all":
            one = sums.isel(stage=s)
            with_2K = np.stack([one[n].isel(trait=p).to_numpy() for n in one])
            every_2K = np.stack([one[n].sel(trait="all").to_numpy() for n in one])
            found[:, s, p] = bootstrap_ratio(with_2K, every_2K - with_2K)
    words = "abandoned: share with the trait over share without"
    return xr.DataArray(
        found,
        {"bound": list(BOUNDS), "stage": stages, "trait": traits},
        ("bound", "stage", "trait"),
        attrs=labelled(words, "1"),
    )


def bootstrap_ratio(with_2K: Array, without_2K: Array) -> Array:
    """A ratio of two shares, and its 95 % interval when classes are drawn anew, [3].

    Args:
        with_2K: By class: how many were abandoned, and how many might have been.
        without_2K: Likewise.
    """
    num_classes = with_2K.shape[1]
    random = stream(0, 0, "bootstrap", "classes")
    drawn_BK = random.multinomial(
        num_classes, np.full(num_classes, 1 / num_classes), size=RESAMPLES
    )
    ratio = divide_shares(with_2K.sum(axis=1), without_2K.sum(axis=1))
    resampled_B = divide_shares(with_2K @ drawn_BK.T, without_2K @ drawn_BK.T)
    known_B = resampled_B[np.isfinite(resampled_B)]
    low, high = np.percentile(known_B, (2.5, 97.5)) if len(known_B) else (np.nan,) * 2
    return np.array([ratio, low, high])


def divide_shares(with_2: Array, without_2: Array) -> Array:
    """(first / at risk) with a trait over that without it; NaN where none is."""
    (a, n), (b, m) = with_2.astype(float), without_2.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((a / n) / (b / m))
