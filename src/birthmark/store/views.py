"""One kind of records, seen by parameter or by layer.

By parameter is how any network is recorded: the dim `parameter`, and along it the
coordinates `layer`, `role` and `kind`. By layer is how a stack of ours is: the dim
`layer`, the weights' measurements under their own names and those of the biases with
the prefix `bias_`. Code that looks at layers looks at any network through `by_layer`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from birthmark.shapes import OUTPUT

_ALONG = ("layer", "role", "kind", "shape", "size")  # coordinates of each parameter


def by_layer(records: xr.Dataset) -> xr.Dataset:
    """Records with the dim `layer`, and `bias_*` for the biases beside weights.

    A layer with one tensor besides biases has the name of its module; where a module
    has several, each stands for itself under its own name, as does a bias without
    weights. What is not measured of a bias, or has none, is NaN.
    """
    if "parameter" not in records.dims:
        return records
    names = [str(name) for name in records["parameter"].values]
    owners = [str(layer) for layer in records["layer"].values]
    roles = [str(role) for role in records["role"].values]
    beside = _biases_beside(names, owners, roles)
    own = [n for n in range(len(names)) if n not in beside.values()]
    labels = []
    for number in own:
        alone = sum(owners[other] == owners[number] for other in own) == 1
        labels.append(owners[number] if alone and owners[number] else names[number])
    biases = [beside.get(number, -1) for number in own]
    variables = {}
    for name, variable in records.data_vars.items():
        if "parameter" not in variable.dims:
            variables[name] = variable.variable
            continue
        moved = variable.variable.isel(parameter=own)
        weights_alone = moved.attrs.pop("tensors", "all") == "weights"
        variables[name] = _renamed(moved)
        if not weights_alone:
            of_biases = _pick(variable.variable, biases)
            of_biases.attrs = {**variable.attrs, "long_name": _of_biases(variable)}
            variables[f"bias_{name}"] = _renamed(of_biases)
    coords = {
        name: coord.variable
        for name, coord in records.coords.items()
        if "parameter" not in coord.dims
    }
    coords["layer"] = xr.Variable("layer", labels)
    coords["kind"] = xr.Variable("layer", records["kind"].values[own])
    return xr.Dataset(variables, coords, records.attrs)


def by_parameter(records: xr.Dataset) -> xr.Dataset:
    """Records with the dim `parameter`: `hidden1.weight`, `hidden1.bias`, ...

    What is measured of weights alone is NaN for the biases.
    """
    if "layer" not in records.dims:
        return records
    layers = [str(name) for name in records["layer"].values]
    variables = {}
    for name, variable in records.data_vars.items():
        if "layer" not in variable.dims:
            variables[name] = variable.variable
        elif not str(name).startswith("bias_"):
            weights = variable.transpose("layer", ...)
            biases = np.full(weights.shape, np.nan)
            if f"bias_{name}" in records:
                biases = records[f"bias_{name}"].transpose(*weights.dims).values
            pairs = np.stack([weights.values, biases], axis=1)
            values = pairs.reshape(-1, *weights.shape[1:])
            dims = ("parameter", *weights.dims[1:])
            whole = xr.Variable(dims, values, variable.attrs)
            if f"bias_{name}" not in records:
                whole.attrs["tensors"] = "weights"
            order = ["parameter" if d == "layer" else d for d in variable.dims]
            variables[name] = whole.transpose(*order)
    coords = {n: c.variable for n, c in records.coords.items() if n not in _ALONG}
    along = {
        "parameter": [f"{n}.{part}" for n in layers for part in ("weight", "bias")],
        "layer": [name for name in layers for _ in range(2)],
        "role": ["weight", "bias"] * len(layers),
        "kind": [
            kind
            for name in layers
            for kind in ("head" if name == OUTPUT else "mlp", "bias")
        ],
    }
    coords |= {name: xr.Variable("parameter", values) for name, values in along.items()}
    return xr.Dataset(variables, coords, records.attrs)


def _biases_beside(
    names: Sequence[str], owners: Sequence[str], roles: Sequence[str]
) -> dict[int, int]:
    """For each tensor that has a bias beside it: the places of both."""
    places = {name: number for number, name in enumerate(names)}
    found = {}
    for number, (name, role) in enumerate(zip(names, roles, strict=True)):
        last = name.rpartition(".")[2]
        prefix = f"{owners[number]}." if owners[number] else ""
        weight = places.get(prefix + last.replace("bias", "weight"))
        if role == "bias" and weight is not None and weight != number:
            found[weight] = number
    return found


def _pick(variable: xr.Variable, places: Sequence[int]) -> xr.Variable:
    """Along `parameter` at these places, NaN at -1."""
    picked = variable.isel(parameter=[max(place, 0) for place in places])
    if min(places) < 0:
        there = xr.Variable("parameter", [place >= 0 for place in places])
        picked = picked.where(there)  # type: ignore[no-untyped-call]
    return picked


def _renamed(variable: xr.Variable) -> xr.Variable:
    dims = ["layer" if dim == "parameter" else dim for dim in variable.dims]
    return xr.Variable(dims, variable.values, variable.attrs)


def _of_biases(variable: xr.DataArray) -> str:
    return f"{variable.attrs.get('long_name', variable.name)}, of the biases"
