"""Records as the page draws them: curves of few points, means over replicas."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from birthmark.serve.rows import looked_at
from birthmark.shapes import Array

_POINTS = 500  # of a curve; more than the page has pixels for are left out
_DIGITS = 5


def summarize_curves(
    records: xr.Dataset, clock: str, names: list[str] | None = None
) -> dict[str, Any]:
    """Each variable along the clock, its mean over replicas.

    Args:
        records: Of one run.
        clock: `epoch` or `step`.
        names: Of the variables wanted; all unless given.
    """
    if not records.sizes.get("step", 0):
        return {"clock": clock, "x": [], "metrics": {}, "layers": {}, "replicas": 0}
    places = _thin(records.sizes["step"])
    metrics, layers = {}, {}
    for name in map(str, records.data_vars):
        variable = records[name]
        if variable.dtype.kind not in "fiu" or (names and name not in names):
            continue
        if variable.dims == ("step", "replica"):
            curve = _curve(variable.to_numpy()[places])
            if curve is not None:
                metrics[name] = curve | _said(variable)
        elif variable.dims == ("step", "replica", "layer"):
            found = _by_layer(variable, places)
            if found:
                layers[name] = {"of": found} | _said(variable)
    return {
        "clock": clock,
        "x": records[clock].to_numpy()[places].tolist(),
        "metrics": metrics,
        "layers": layers,
        "replicas": records.sizes["replica"],
    }


def _by_layer(variable: xr.DataArray, places: Array) -> dict[str, Any]:
    values = variable.to_numpy().astype(float)[places]
    if looked_at(values) is None:
        return {}
    names = [str(name) for name in variable["layer"].to_numpy()]
    curves = {name: _curve(values[:, :, n]) for n, name in enumerate(names)}
    return {name: curve for name, curve in curves.items() if curve is not None}


def _curve(values_TR: Array) -> dict[str, Any] | None:
    values = np.where(np.isfinite(values_TR), values_TR, np.nan).astype(float)
    if not np.isfinite(values).any():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # epochs without a value
        return {"mean": _listed(np.nanmean(values, axis=1))}


def _listed(values: Array) -> list[float | None]:
    return [
        float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
        for value in values.tolist()
    ]


def _said(variable: xr.DataArray) -> dict[str, str]:
    known = variable.attrs
    return {
        "long_name": str(known.get("long_name", variable.name)),
        "units": str(known.get("units", "")),
    }


def _thin(count: int) -> Array:
    """Places of at most `_POINTS` records, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, _POINTS)).round().astype(int))
