"""When a network has diverged, under several definitions of the word."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from birthmark.analysis import Thresholds, chance_loss, curves, fact, running_median
from birthmark.shapes import Array
from birthmark.spec import RunSpec

RISES = (1.5, 2.0, 3.0)  # multiples of the minimum
PLATEAUS = (0.5, 0.9)  # shares of the plateau of the clipped loss


@dataclass(frozen=True)
class Divergence:
    """The epochs at which replicas diverged, under one definition."""

    name: str  # plain words
    level: Array  # [R] train loss that is passed
    epoch: Array  # [R]; NaN: never


def find_divergences(
    records: xr.Dataset, spec: RunSpec, thresholds: Thresholds | None = None
) -> list[Divergence]:
    """The epoch from which the train loss stays above a level until the end.

    The levels: multiples of the minimum of the replica (the rise begins), the loss of
    chance, and, for the clipped loss, shares of its plateau (the rise is over). The
    train loss is a running median over a window, so that a spike is none of them, and
    only what comes after its minimum counts.

    Args:
        records: Of a run, with the facts about the data in the attributes.
        spec: What was run.
        thresholds: For the window; the defaults unless given.

    Raises:
        StoreError: A fact about the data is missing in the attributes.
    """
    lines = thresholds or Thresholds()
    epochs = records["epoch"].to_numpy().astype(float)
    loss_TR = curves(records, "train_loss")
    smooth_TR = running_median(loss_TR, lines.window_epochs(int(epochs[-1])))
    least_R = np.min(smooth_TR, axis=0, where=np.isfinite(smooth_TR), initial=np.inf)
    chance = chance_loss(spec, int(fact(records, "num_classes")))
    levels = {f"{k:g} times the minimum": k * least_R for k in RISES}
    levels["the loss of chance"] = np.full_like(least_R, chance)
    if spec.training.loss == "clipped_cross_entropy":
        guessed = 1 - fact(records, "largest_class_share")
        plateau = -math.log(spec.training.eps) * guessed
        for share in PLATEAUS:
            levels[f"{share:g} of the plateau"] = np.full_like(least_R, share * plateau)
    return [
        Divergence(name, level_R, stays_above(epochs, smooth_TR, level_R))
        for name, level_R in levels.items()
    ]


def stays_above(epochs: Array, smooth_TR: Array, level_R: Array) -> Array:
    """The first epoch after the minimum with nothing below the level behind it.

    Args:
        epochs: [T].
        smooth_TR: Losses without spikes, such as a running median.
        level_R: By replica.

    Returns:
        [R]; NaN where there is none.
    """
    found = np.full(smooth_TR.shape[1], np.nan)
    for place, (smooth, level) in enumerate(zip(smooth_TR.T, level_R, strict=True)):
        known = np.flatnonzero(np.isfinite(smooth))
        if not len(known):
            continue
        values = smooth[known]
        below = np.flatnonzero(values < level)
        first = max(below[-1] + 1 if len(below) else 0, values.argmin() + 1)
        if first < len(known):
            found[place] = epochs[known[first]]
    return found
