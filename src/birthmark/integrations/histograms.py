"""Histograms of the current weights out of the counts that are recorded."""

from __future__ import annotations

import xarray as xr

from birthmark.shapes import Array


def find_histograms(measured: xr.Dataset) -> dict[str, tuple[Array, Array]]:
    """Counts [M] and edges [M + 1] of the values of each tensor, by `values/NAME`.

    They come from `joint_count`, so from steps at which distributions are measured.
    """
    if "joint_count" not in measured or "bound" not in measured:
        return {}
    counts = measured["joint_count"].isel(replica=0).sum("bin")
    edges = measured["current_bin_edge"].values
    return {
        f"values/{name}": (
            counts.sel(parameter=name).values,
            edges * float(measured["bound"].sel(parameter=name)),
        )
        for name in measured["parameter"].values
    }
