"""What the trials with other details of the protocol say."""

from __future__ import annotations

from typing import Any

import xarray as xr

from birthmark.analysis import FIGURE_2

REFERENCE = "as reproduced"
FORK = slice(90, 140)  # epochs in which width 250 rises, or falls on


def summarize(results: xr.Dataset) -> dict[str, Any]:
    """By arm: minima, and the train loss at the end of what was trained."""
    published = {one.width: one for one in FIGURE_2}
    arms = {}
    for place, name in enumerate(results["arm"].to_numpy()):
        one = results.isel(arm=place)
        trained = one["train_loss"].dropna("replica", how="all")
        trained = trained.dropna("epoch", how="any")
        test = one["test_loss"].sel(epoch=trained.epoch, replica=trained.replica)
        width = int(one["width"])
        at = published.get(width)
        arms[str(name)] = {
            "width": width,
            "replicas": trained.sizes["replica"],
            "epochs": int(trained.epoch[-1]),
            "min_train": trained.min("epoch").to_numpy().tolist(),
            "min_train_epoch": _epochs_of_minimum(trained),
            "last_train": trained.isel(epoch=-1).to_numpy().tolist(),
            "min_test": test.min("epoch").to_numpy().tolist(),
            "min_test_epoch": _epochs_of_minimum(test),
            "fork_train": trained.sel(epoch=FORK).max("epoch").to_numpy().tolist(),
            "published": None if at is None else vars(at),
        }
    return {
        "protocol": results.attrs["protocol"],
        "reference": REFERENCE,
        "fork": [FORK.start, FORK.stop],
        "arms": arms,
    }


def _epochs_of_minimum(loss: xr.DataArray) -> list[int]:
    epochs: list[int] = loss.idxmin("epoch").to_numpy().astype(int).tolist()
    return epochs
