"""What is known of an example; when it is abandoned, and how likely that is."""

import numpy as np
import xarray as xr

from birthmark.seeds import stream
from birthmark.shapes import Array, Dataset
from ..abandonment.contradictions import count_labels, find_neighbours
from ..frame import labelled

STAGES = ("early", "before", "onset", "after")  # of the first time below the clip
HARD_SHARE = 0.1  # of the examples: those with the largest early loss
RARE_SHARE = 0.1  # of the examples, at most: those of the smallest classes
NEAR = 0.02  # mean difference of the pixels, of their full scale
NUM_NEIGHBOURS = 10
TRAITS = {
    "all": "every example",
    "contradictory": "an equal image has another label",
    "tied": "of the equal images as many have another label, and none has more",
    "outvoted": "more of the equal images have one other label than its own",
    "near": "the nearest image, of another label, differs in at most "
    f"{100 * NEAR:g} % of the pixels",
    "odd": "the nearest image has another label",
    "alone": f"none of the {NUM_NEIGHBOURS} nearest images has its label",
    "rare": "of the smallest classes, which hold a tenth of the examples",
    "hard": "among the tenth with the largest early loss",
}
RESAMPLES = 2000
CIRCULAR = {("hard", "early")}  # the early loss would tell of itself
BOUNDS = ("value", "low", "high")


def find_traits(dataset: Dataset, early_loss_RN: Array) -> dict[str, Array]:
    """The traits of the training half by name, [R, N] bool each."""
    labels = count_labels(dataset)
    y_N = dataset.y_train
    near_NJ = find_neighbours(dataset, NUM_NEIGHBOURS)
    agrees_NJ = y_N[near_NJ] == y_N[:, None]
    distance_N = _differ(dataset, near_NJ[:, 0])
    found = {
        "all": np.ones(len(y_N), dtype=bool),
        "contradictory": labels.contradicts,
        "tied": labels.is_tied,
        "outvoted": labels.own < labels.most,
        "near": ~agrees_NJ[:, 0] & (distance_N > 0) & (distance_N <= NEAR),
        "odd": ~agrees_NJ[:, 0],
        "alone": ~agrees_NJ.any(axis=1),
        "rare": find_rare(y_N),
    }
    traits = {n: np.broadcast_to(t, early_loss_RN.shape) for n, t in found.items()}
    least_R = np.quantile(early_loss_RN, 1 - HARD_SHARE, axis=1)
    return traits | {"hard": early_loss_RN >= least_R[:, None]}


def find_rare(y_N: Array) -> Array:
    """Whether an example is of the smallest classes, which hold a tenth at most."""
    sizes = np.bincount(y_N)
    order = np.argsort(sizes, kind="stable")
    few = order[np.cumsum(sizes[order]) <= RARE_SHARE * len(y_N)]
    return np.isin(y_N, few)


def find_stages(below_TRN: Array, epochs_T: Array, early: int, onset: float) -> Array:
    """The stage in which an example is below the clip first, -1: never, [R, N] int8.

    `early` is an epoch, `onset` the share below the clip from which abandoning has
    begun; where it never has, all that is not early is before.
    """
    begun_TR = below_TRN.mean(axis=2) >= onset
    onset_R = np.where(begun_TR.any(axis=0), begun_TR.argmax(axis=0), len(epochs_T))
    first_RN = below_TRN.argmax(axis=0)
    stage_RN = 1 + (first_RN >= onset_R[:, None]) + (first_RN > onset_R[:, None])
    stage_RN = np.where(epochs_T[first_RN] <= early, 0, stage_RN)
    return np.where(below_TRN.any(axis=0), stage_RN, -1).astype(np.int8)


def _differ(dataset: Dataset, other_N: Array) -> Array:
    """Mean difference of the pixels to another image, of their full scale."""
    pairs = zip(dataset.x_train, dataset.x_train[other_N], strict=True)
    found = [np.abs(a.astype(np.int16) - b).mean() for a, b in pairs]
    return np.array(found) / dataset.full_scale


def find_ratios(counts: xr.Dataset) -> xr.DataArray:
    """Of those at risk, the share first below the clip: with a trait over without.

    Of all replicas together, with 95 % percentiles of a bootstrap over classes; NaN
    where the trait would tell of itself, or where no example has it.
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
    words = labelled("abandoned: share with the trait over share without", "1")
    coords = {"bound": list(BOUNDS), "stage": stages, "trait": traits}
    return xr.DataArray(found, coords, tuple(coords), attrs=words)


def bootstrap_ratio(with_2K: Array, without_2K: Array) -> Array:
    """A ratio of two shares, and its 95 % interval when classes are drawn anew, [3].

    By class: how many were abandoned, and how many might have been.
    """
    n = with_2K.shape[1]
    random = stream(0, 0, "bootstrap", "classes")
    drawn_BK = random.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
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
