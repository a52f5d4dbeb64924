"""What the trials with other details of the protocol say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from birthmark.analysis import FIGURE_2, running_median, stays_above
from birthmark.shapes import Array

REFERENCE = "as reproduced"
_WINDOW = 20  # epochs of the running median by which a rise is dated
_PLATEAU = 0.9  # share of -ln eps from which the plateau is reached


def summarize(results: xr.Dataset) -> dict[str, Any]:
    """By arm: minima, and when it got past the least train loss that was published."""
    published = {one.width: one for one in FIGURE_2}
    arms = []
    for place, name in enumerate(results["arm"].to_numpy()):
        one = results.isel(arm=place)
        train = one["train_loss"].dropna("replica", how="all").dropna("epoch")
        test = one["test_loss"].sel(epoch=train.epoch, replica=train.replica)
        width = int(one["width"])
        at = published.get(width)
        level = at.min_train_loss / 2 if at else math.nan
        epochs = train.epoch.to_numpy()
        loss_TR = train.transpose("epoch", "replica").to_numpy()
        smooth_TR = running_median(loss_TR, _WINDOW)
        plateau_R = np.full(loss_TR.shape[1], results.attrs["plateau"] * _PLATEAU)
        rise = stays_above(epochs, smooth_TR, 2 * smooth_TR.min(axis=0))
        passed = [_find_first(epochs, losses_T <= level) for losses_T in loss_TR.T]
        arms.append(
            {
                "name": str(name).partition(", width")[0],
                "is_reference": str(name).startswith(REFERENCE),
                "width": width,
                "replicas": train.sizes["replica"],
                "epochs": int(epochs[-1]),
                "passed": passed,
                "num_passed": sum(map(math.isfinite, passed)),
                "min_train": train.min("epoch").to_numpy().tolist(),
                "min_train_epoch": _epochs_of_minimum(train),
                "rise": rise.tolist(),
                "plateau": stays_above(epochs, smooth_TR, plateau_R).tolist(),
                "last_train": loss_TR[-1].tolist(),
                "min_test": test.min("epoch").to_numpy().tolist(),
                "min_test_epoch": _epochs_of_minimum(test),
            }
        )
    widths = {one["width"] for one in arms}
    return {
        "protocol": results.attrs["protocol"],
        "window": _WINDOW,
        "plateau_share": _PLATEAU,
        "arms": sorted(arms, key=lambda one: not one["is_reference"]),
        "wide": max(widths),
        "narrow": min(widths),
        "published": {width: vars(published[width]) for width in widths & {*published}},
    }


def _find_first(epochs: Array, flags: Array) -> float:
    """The first epoch at which it is true; NaN: none."""
    return float(epochs[flags.argmax()]) if flags.any() else math.nan


def _epochs_of_minimum(loss: xr.DataArray) -> list[int]:
    epochs: list[int] = loss.idxmin("epoch").to_numpy().astype(int).tolist()
    return epochs
