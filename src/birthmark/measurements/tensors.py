"""Two sets of parameters side by side: which belong together, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, partial

import numpy as np
import torch
import xarray as xr

from birthmark.errors import WeightsError, unknown_name
from birthmark.measurements.facts import Facts
from birthmark.measurements.kinds import Layout
from birthmark.measurements.pair import Pair, largest
from birthmark.shapes import Mark, Parameter, Parameters, Tensor

_LISTED = 3  # names in a message


def align(initial: Parameters, current: Parameters) -> tuple[Parameters, Parameters]:
    """The same tensors of both, in the order of the first.

    A name that one has only as an alias of a tied tensor, as a state dict may have it,
    is left out of the other.

    Raises:
        WeightsError: A tensor is missing in one, or shapes, replicas or devices differ.
    """
    initial, current = _without(initial, current), _without(current, initial)
    lacking = [name for name in initial if name not in current]
    added = [name for name in current if name not in initial]
    if lacking or added:
        raise WeightsError(
            f"the current weights lack {_listed(lacking)} and have besides "
            f"{_listed(added)}: give the same tensors, under the same names"
        )
    for name, before in initial.items():
        x, y = before.values, current[name].values
        if x.shape != y.shape or x.device != y.device:
            raise WeightsError(
                f"{name}: initial is {list(x.shape[1:])} for {len(x)} replicas on "
                f"{x.device}, current {list(y.shape[1:])} for {len(y)} on {y.device}; "
                "give both alike"
            )
    return initial, Parameters({name: current[name] for name in initial})


def find_pairs(initial: Parameters, current: Parameters, facts: Facts) -> list[Pair]:
    """One for each tensor, with what is known about it.

    Raises:
        SpecError: The mark lies in no parameter.
        WeightsError: A fact does not fit.
    """
    marked = None if facts.mark is None else _find_marked(facts.mark, initial)
    for what, given in (("path", facts.path), ("bounds", facts.bounds)):
        lacking = [name for name in initial if given is not None and name not in given]
        if lacking:
            raise WeightsError(f"{what} lacks {_listed(lacking)}; give all of them")
    first = next((n for n, one in initial.items() if one.role == "weight"), None)
    pairs = []
    for name, before in initial.items():
        still_share = 0.0
        if name == first:
            still = facts.still_inputs
            still_share = float("nan") if still is None else float(still.mean())
        find_bound = cache(partial(_bound, name, initial, facts.bounds))
        if facts.bounds is not None:
            find_bound()  # refuses what is no bound
        pairs.append(
            Pair(
                _matrix(before.values, before.layout),
                _matrix(current[name].values, before.layout),
                find_bound=find_bound,
                path_R=_path(name, before, facts.path),
                still_share=still_share,
                mark=facts.mark if name == marked else None,
                step=(facts.steps or {}).get(name),
                signal=(facts.signals or {}).get(name),
            )
        )
    return pairs


def parameter_coords(parameters: Parameters) -> dict[str, xr.Variable]:
    """What is known of each tensor, along `parameter`, and the numbers of replicas."""
    ones = parameters.values()
    along: dict[str, list[object]] = {
        "parameter": list(parameters),
        "layer": [one.layer for one in ones],
        "role": [one.role for one in ones],
        "kind": [one.kind for one in ones],
        "shape": ["x".join(map(str, one.shape)) for one in ones],
        "size": [one.size for one in ones],
    }
    coords = {name: xr.Variable("parameter", values) for name, values in along.items()}
    replicas = np.arange(parameters.num_replicas)
    return {"replica": xr.Variable("replica", replicas), **coords}


def weight_beside(name: str, parameters: Parameters) -> str | None:
    """The name of the weight that a bias stands beside in its layer, if there is one.

    `bias` beside `weight`, `bias_ih_l0` of an LSTM beside `weight_ih_l0`.
    """
    one = parameters[name]
    last = name.rpartition(".")[2]
    prefix = f"{one.layer}." if one.layer else ""
    beside = prefix + last.replace("bias", "weight")
    found = parameters.get(beside)
    if one.role != "bias" or found is None or beside == name:
        return None
    return beside if found.num_units == one.num_units else None


def fan_in_of(name: str, parameters: Parameters) -> int:
    """Numbers that enter one unit; of a bias, those of the weight beside it."""
    beside = weight_beside(name, parameters)
    return parameters[beside or name].fan_in


def _without(these: Parameters, those: Parameters) -> Parameters:
    """Without names that the others have as aliases alone."""
    aliases = {alias for one in those.values() for alias in one.aliases}
    return Parameters(
        {n: one for n, one in these.items() if n in those or n not in aliases}
    )


def _matrix(values: Tensor, layout: Layout) -> Tensor:
    """Of a tensor in rows, so that no sum depends on how it is stored."""
    return Parameter(values.contiguous(), layout=layout).matrix


def _bound(
    name: str, initial: Parameters, bounds: Mapping[str, object] | None
) -> Tensor:
    one = initial[name]
    if bounds is None:
        return largest(one.values, instead=fan_in_of(name, initial) ** -0.5)
    given = bounds[name]
    if not isinstance(given, int | float) or not 0 < given < float("inf"):
        raise WeightsError(
            f"the bound of {name} must be one positive number, not {given!r}"
        )
    return torch.tensor(float(given), dtype=torch.float64, device=one.values.device)


def _path(
    name: str, one: Parameter, path: Mapping[str, Tensor] | None
) -> Tensor | None:
    if path is None:
        return None
    length_R = path[name]
    if tuple(length_R.shape) != (len(one.values),):
        raise WeightsError(
            f"path of {name} must be [{len(one.values)}], one length a replica, not "
            f"{list(length_R.shape)}"
        )
    return length_R.to(one.values.device, torch.float64)


def _find_marked(mark: Mark, parameters: Parameters) -> str:
    """The parameter of this name, or the weight of the layer of this name."""
    for name, one in parameters.items():
        if name == mark.layer or (one.layer == mark.layer and one.role == "weight"):
            shape = tuple(one.matrix.shape[1:])
            if mark.mask_IO.shape != shape or mark.mask_IO.dtype != bool:
                raise WeightsError(
                    f"the mask of the mark in {name} must be bool {list(shape)}, not "
                    f"{mark.mask_IO.dtype} {list(mark.mask_IO.shape)}"
                )
            return name
    raise unknown_name("layer of the mark", mark.layer, parameters)


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _LISTED
    text = ", ".join(listed[:_LISTED]) or "none"
    return f"{text} and {more} more" if more > 0 else text
