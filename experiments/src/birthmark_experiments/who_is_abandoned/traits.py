"""What is known of an example beside its loss, and when it was abandoned first."""

from __future__ import annotations

import numpy as np

from birthmark.shapes import Array, Dataset
from birthmark_experiments.abandonment.contradictions import (
    count_labels,
    find_neighbours,
)

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


def find_traits(dataset: Dataset, early_loss_RN: Array) -> dict[str, Array]:
    """The traits by name, [R, N] bool each.

    Args:
        dataset: Its training half is looked at.
        early_loss_RN: Loss of each example early in training.
    """
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

    Args:
        below_TRN: At kept epochs.
        epochs_T: These.
        early: Up to this epoch it is early.
        onset: Share below the clip from which abandoning has begun; where it never
            has, all that is not early is before.
    """
    begun_TR = below_TRN.mean(axis=2) >= onset
    onset_R = np.where(begun_TR.any(axis=0), begun_TR.argmax(axis=0), len(epochs_T))
    first_RN = below_TRN.argmax(axis=0)
    stage_RN = 1 + (first_RN >= onset_R[:, None]) + (first_RN > onset_R[:, None])
    stage_RN = np.where(epochs_T[first_RN] <= early, 0, stage_RN)
    return np.where(below_TRN.any(axis=0), stage_RN, -1).astype(np.int8)


def _differ(dataset: Dataset, other_N: Array) -> Array:
    """Mean difference of the pixels to another image, of their full scale."""
    x_NI = dataset.x_train
    found = [
        np.abs(x_NI[n].astype(np.int16) - x_NI[m]).mean() for n, m in enumerate(other_N)
    ]
    return np.array(found) / dataset.full_scale
