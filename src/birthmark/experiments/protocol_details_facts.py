"""What the trials with other details of the protocol say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from birthmark.analysis import FIGURE_2
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
        smooth = train.rolling(epoch=_WINDOW, center=True, min_periods=1).median()
        passed = [
            _find_first(train.epoch.to_numpy(), losses_T <= level)
            for losses_T in train.transpose("replica", "epoch").to_numpy()
        ]
        arms.append(
            {
                "name": str(name).partition(", width")[0],
                "is_reference": str(name).startswith(REFERENCE),
                "width": width,
                "replicas": train.sizes["replica"],
                "epochs": int(train.epoch[-1]),
                "passed": passed,
                "num_passed": sum(map(math.isfinite, passed)),
                "min_train": train.min("epoch").to_numpy().tolist(),
                "min_train_epoch": _epochs_of_minimum(train),
                "rise": _stays_above(smooth, 2 * smooth.min("epoch")),
                "plateau": _stays_above(smooth, results.attrs["plateau"] * _PLATEAU),
                "last_train": train.isel(epoch=-1).to_numpy().tolist(),
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


def _stays_above(loss: xr.DataArray, level: xr.DataArray | float) -> list[float]:
    """By replica, the epoch from which it stays above until the end; NaN: none."""
    above = (loss > level).transpose("replica", "epoch").to_numpy()
    stays = np.logical_and.accumulate(above[:, ::-1], axis=1)[:, ::-1]
    return [_find_first(loss.epoch.to_numpy(), flags_T) for flags_T in stays]
