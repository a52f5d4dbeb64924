"""From two configurations of weights to named arrays."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Literal

import numpy as np
import torch
import xarray as xr

from birthmark.errors import SpecError, unknown_name
from birthmark.measurements.columns import (
    Column,
    blank,
    choose,
    measure_pair,
    stack_columns,
    to_dataset,
)
from birthmark.measurements.facts import (
    Facts,
    check_comparable,
    path_key,
)
from birthmark.measurements.pair import Pair, largest
from birthmark.measurements.parameters import Source, to_parameters
from birthmark.measurements.shards import merge_shards
from birthmark.measurements.signals import Signal
from birthmark.measurements.steps import Step
from birthmark.measurements.table import MEASUREMENTS
from birthmark.measurements.tensors import align, find_pairs, parameter_coords
from birthmark.shapes import Array, Layer, Mark, Parameters, Tensor, Weights

KINDS = ("all", "scalars", "distributions")


def measure(
    initial: Source,
    current: Source,
    *,
    mark: Mark | None = None,
    still_inputs: Array | None = None,
    path: Mapping[str, Tensor] | None = None,
    bounds: Mapping[str, tuple[float, float]] | Mapping[str, float] | None = None,
    steps: Mapping[str, Step] | None = None,
    signals: Mapping[str, Signal] | None = None,
    kind: Literal["all", "scalars", "distributions"] = "all",
    only: Collection[str] | None = None,
) -> xr.Dataset:
    """How far each tensor of each replica has moved from where it started.

    The variables are those of `MEASUREMENTS`. Two models, state dicts or mappings of
    arrays (all that `to_parameters` takes) have the dim `parameter`; two `Weights` have
    the dim `layer`, and what is measured of biases has the prefix `bias_`. A replica
    with NaN or Inf in a tensor has NaN in all measurements of that tensor, except
    counts and what has a bin axis: these leave such weights out. What is not defined
    (the skewness of no deviation, the correlation with constant initial weights) is
    NaN.

    Args:
        initial: The initial configuration: a copy, for training writes into a model's
            own tensors (`to_parameters(model).clone()`).
        current: The same tensors on the same device, now; of another floating type if
            need be.
        mark: What was drawn into one layer, or into the parameter of that name; None
            leaves `mark_auc` and `mark_contrast` out.
        still_inputs: [I] bool, True for inputs that are zero in every training example;
            None makes `cannot_move` of the first layer NaN.
        path: What `extend_path` gave; None takes one straight move from the start.
        bounds: For each layer the half-widths of the initial axes of weights and of
            biases, for each parameter one half-width; None takes the largest absolute
            initial value in the stack, or 1 / sqrt(fan-in) where all are zero.
        steps: By name of parameter what the last step of an optimizer did; None leaves
            out what is measured of a step.
        signals: By name of weight what goes through its layer; None leaves out what is
            measured of it.
        kind: `scalars` are cheap enough for every epoch; `distributions` have a bin
            axis or need a decomposition; `all` is both.
        only: Names of `MEASUREMENTS` to which it is kept.

    Returns:
        Dims (replica, parameter[, quantile | bin[, current_bin | quantile]]), float64,
        counts int64; along `parameter` lie the coordinates `layer`, `role`, `kind`,
        `shape` and `size`. With `distributions` also `bound` (parameter). Of `Weights`
        the second dim is `layer`, and there is `bias_bound` too.

    Raises:
        SpecError: Unknown kind, measurement, or layer of the mark.
        WeightsError: Something does not fit; nothing has been measured then.
    """
    if kind not in KINDS:
        raise unknown_name("kind of measurements", kind, KINDS)
    for name in only or ():
        if name not in MEASUREMENTS:
            raise unknown_name("measurement", name, MEASUREMENTS)
    if isinstance(initial, Weights) and isinstance(current, Weights):
        facts = Facts(mark, still_inputs, path, bounds)
        return _measure_layers(
            _as_tensors(initial), _as_tensors(current), facts, kind, only
        )
    before, after = align(to_parameters(initial), to_parameters(current))
    facts = Facts(mark, still_inputs, path, bounds, steps, signals)
    return _measure_parameters(before, after, facts, kind, only)


def _measure_layers(
    initial: Weights,
    current: Weights,
    facts: Facts,
    kind: str,
    only: Collection[str] | None,
) -> xr.Dataset:
    check_comparable(initial, current)
    facts.check(initial)
    marked = facts.mark is not None
    columns: dict[str, Column] = {}
    for bias in (False, True):
        pairs = [_pair(name, initial, current, facts, bias=bias) for name in initial]
        chosen = choose(kind, only_all=bias, marked=marked, only=only)
        prefix, suffix = ("bias_", ", of the biases") if bias else ("", "")
        found = [measure_pair(pair, chosen) for pair in pairs]
        columns |= stack_columns(found, chosen, "layer", prefix=prefix, suffix=suffix)
        if kind != "scalars":
            columns[f"{prefix}bound"] = _bound(pairs, "layer", suffix)
    coords = {
        "replica": xr.Variable("replica", np.arange(initial.num_replicas)),
        "layer": xr.Variable("layer", list(initial)),
    }
    return to_dataset(columns, coords)


def _measure_parameters(
    initial: Parameters,
    current: Parameters,
    facts: Facts,
    kind: str,
    only: Collection[str] | None,
) -> xr.Dataset:
    pairs = find_pairs(initial, current, facts)
    every = choose(
        kind,
        only_all=False,
        marked=facts.mark is not None,
        stepped=facts.steps is not None,
        probed=facts.signals is not None,
        only=only,
    )
    of_vectors = {
        n: one for n, one in every.items() if one.tensors in ("all", "stepped")
    }
    shards = [one.shard for one in initial.values()]
    if any(shards):
        _refuse_unsummed(only)
        pairs = _merge(initial, pairs)
    found = []
    for pair, shard in zip(pairs, shards, strict=True):
        chosen = every if pair.initial.ndim == 3 else of_vectors
        if shard is not None:
            chosen = {n: one for n, one in chosen.items() if one.is_summed}
        left_out = {n: blank(one, pair) for n, one in every.items() if n not in chosen}
        found.append(measure_pair(pair, chosen) | left_out)
    columns = stack_columns(found, every, "parameter")
    if kind != "scalars":
        columns["bound"] = _bound(pairs, "parameter", "")
    return to_dataset(columns, parameter_coords(initial))


def _merge(initial: Parameters, pairs: list[Pair]) -> list[Pair]:
    """The same with sums over all shards; every process comes here."""
    local = {name: pair.sums for name, pair in zip(initial, pairs, strict=True)}
    merged = merge_shards(initial, local).values()
    return [replace(pair, merged=one) for pair, one in zip(pairs, merged, strict=True)]


def _refuse_unsummed(only: Collection[str] | None) -> None:
    for name in only or ():
        if not MEASUREMENTS[name].is_summed:
            summed = [name for name, one in MEASUREMENTS.items() if one.is_summed]
            raise SpecError(
                f"{name} is no sum over weights, so it cannot be measured of shards "
                f"that are not gathered: there are {', '.join(summed)}"
            )


def _bound(pairs: list[Pair], axis: str, suffix: str) -> Column:
    bound_L = torch.stack([pair.bound for pair in pairs])
    long_name = f"half-width of the initial axis{suffix}"
    return Column(bound_L, (axis,), long_name, "weight")


def _as_tensors(weights: Weights) -> Weights:
    """The same weights; arrays of NumPy, as a store gives them, become tensors."""
    if all(isinstance(layer.w, torch.Tensor) for _, layer in weights.items()):
        return weights
    return Weights(
        {n: Layer(torch.tensor(x.w), torch.tensor(x.b)) for n, x in weights.items()}
    )


def _pair(
    name: str, initial: Weights, current: Weights, facts: Facts, *, bias: bool
) -> Pair:
    before, after = (weights[name] for weights in (initial, current))
    tensor = before.b if bias else before.w
    if facts.bounds is None:
        given = partial(largest, tensor, instead=before.w.shape[1] ** -0.5)
    else:
        width = float(facts.bounds[name][bias])
        given = partial(torch.tensor, width, dtype=torch.float64, device=tensor.device)
    path_R = None
    if facts.path is not None:
        path_R = facts.path[path_key(name, bias=bias)].to(tensor.device, torch.float64)
    still_share = 0.0
    if name == next(iter(initial)):
        known = facts.still_inputs
        still_share = float("nan") if known is None else float(known.mean())
    mark = facts.mark if facts.mark and facts.mark.layer == name else None
    return Pair(
        tensor.contiguous(),  # so that no sum depends on how weights are stored
        (after.b if bias else after.w).contiguous(),
        find_bound=cache(given),
        path_R=path_R,
        still_share=still_share,
        mark=mark,
    )
