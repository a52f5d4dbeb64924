"""Records as the page draws them: curves of few points, means over replicas."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from birthmark.serve.rows import MEASURED
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
    metrics: dict[str, Any] = {}
    layers: dict[str, Any] = {}
    for name, variable in records.variables.items():
        if variable.dtype.kind not in "fiu" or (names and name not in names):
            continue
        if variable.dims == ("step", "replica"):
            curve = _curve(_means(variable.values[places]))
            if curve is not None:
                metrics[str(name)] = curve | _said(str(name), variable)
        elif variable.dims == ("step", "replica", "layer") and name in MEASURED:
            of_layers = [str(layer) for layer in records["layer"].values]
            found = _by_layer(variable.values[places], of_layers)
            if found:
                layers[str(name)] = {"of": found} | _said(str(name), variable)
    return {
        "clock": clock,
        "x": records[clock].to_numpy()[places].tolist(),
        "metrics": metrics,
        "layers": {name: layers[name] for name in MEASURED if name in layers},
        "replicas": records.sizes["replica"],
    }


def _by_layer(values_TRL: Array, layers: list[str]) -> dict[str, Any]:
    curves = {
        layer: _curve(means_T)
        for layer, means_T in zip(layers, _means(values_TRL).T, strict=True)
    }
    return {name: curve for name, curve in curves.items() if curve is not None}


def _means(values: Array) -> Array:
    """Over the replicas that have a number, NaN where none has: along axis 1."""
    known = np.isfinite(values)
    counts = known.sum(axis=1)
    sums = np.where(known, values, 0).sum(axis=1, dtype=float)
    means = np.full(sums.shape, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


def _curve(means_T: Array) -> dict[str, Any] | None:
    known = np.isfinite(means_T)
    if not known.any():
        return None
    rounded = _round(np.where(known, means_T, 0)).tolist()
    listed = [v if k else None for v, k in zip(rounded, known.tolist(), strict=True)]
    return {"mean": listed}


def _round(values: Array) -> Array:
    """To as many digits as anybody sees."""
    size = np.log10(np.abs(values), out=np.zeros(len(values)), where=values != 0)
    places = _DIGITS - 1 - np.floor(size).clip(-290, 290)  # after the decimal point
    up, down = 10.0 ** places.clip(min=0), 10.0 ** (-places).clip(min=0)
    rounded: Array = np.round(values * up / down) / up * down
    return rounded


def _said(name: str, variable: xr.Variable) -> dict[str, str]:
    known = variable.attrs
    return {
        "long_name": str(known.get("long_name", name)),
        "units": str(known.get("units", "")),
    }


def _thin(count: int) -> Array:
    """Places of at most `_POINTS` records, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, _POINTS)).round().astype(int))
