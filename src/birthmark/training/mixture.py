"""Which runs may be one stack, how their weights lie in it, and how it makes steps."""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from torch import Tensor

from birthmark.errors import SpecError
from birthmark.network import (
    ACTIVATIONS,
    gather_layers,
    is_parametrized,
    name_parameters,
)
from birthmark.shapes import Weights
from birthmark.spec import RunSpec
from birthmark.training.fast import FastPath
from birthmark.training.paths import Path, choose_path
from birthmark.training.stepwise import BatchResult


def program_of(spec: RunSpec) -> dict[str, str]:
    """What the runs of one stack must have in common, as texts by dotted name.

    They may differ in widths, seed, number of replicas, initialization, mark, batch
    order, in what they record, and under plain SGD in the learning rate (but not in
    bfloat16, which the path for that may not have).
    """
    training = spec.training.model_dump(exclude={"batch_order", "shuffle_buffer"})
    lr = training.pop("lr")
    any_lr = spec.training.is_plain_sgd and spec.run.precision != "bf16"
    training["lr"] = "any" if any_lr else lr
    network = spec.network.model_dump(exclude={"widths"})
    network["parametrization"] = (
        spec.initialization.name if is_parametrized(spec) else ""
    )
    tables = {
        "data": spec.data.model_dump(),
        "network": {**network, "depth": len(spec.network.widths)},
        "training": training,
        "run": spec.run.model_dump(exclude={"seed", "replicas"}),
    }
    return {
        f"{table}.{key}": json.dumps(value)
        for table, fields in tables.items()
        for key, value in fields.items()
    }


def check_mixture(specs: Sequence[RunSpec]) -> None:
    """Refuse runs that cannot be one stack, before any work.

    Raises:
        SpecError: A network is not plain, or parametrized; they differ in what all must
            share, or their widths differ and the activation is not 0 at 0.
    """
    if not all(spec.network.is_plain for spec in specs):
        raise SpecError(
            "network: runs of one stack must be dense, without skips and dropout: "
            "train these separately"
        )
    if any(map(is_parametrized, specs)):
        raise SpecError(
            "initialization: runs of one stack cannot be parametrized: train these "
            "separately"
        )
    first = program_of(specs[0])
    for spec in specs[1:]:
        for key, value in program_of(spec).items():
            if value != first[key]:
                raise SpecError(
                    f"{key}: runs of one stack must have the same, got {first[key]} "
                    f"and {value}: train them separately"
                )
    name = specs[0].network.activation
    at_zero = ACTIVATIONS[name].apply_(torch.zeros(())).item()
    if at_zero != 0 and len({spec.network.widths for spec in specs}) > 1:
        raise SpecError(
            f"network.activation: {name!r} is {at_zero:g} at 0, so units added to fill "
            "a narrow network up would not be silent: train these widths separately"
        )


def choose_mixed_path(
    specs: Sequence[RunSpec], stacks: Sequence[Weights], device: str, name: str
) -> Path:
    """The path for all rows of these runs; see `choose_path`.

    Args:
        specs: The runs.
        stacks: Their initial configurations.
        device: Where these are.
        name: Of the path, if it is already known; where learning rates differ it is
            `fast`.
    """
    weights = _pad(stacks)
    lrs = [spec.training.lr for spec in specs]
    if len(set(lrs)) == 1:
        return choose_path(specs[0], weights, device, name)
    scales = [
        spec.training.lr / lrs[0] for spec in specs for _ in range(spec.run.replicas)
    ]
    dtype = weights["output"].b.dtype
    scale_R = torch.tensor(scales, dtype=dtype, device=device)
    return _ScaledPath(specs[0], weights, scale_R)


def _pad(stacks: Sequence[Weights]) -> Weights:
    """All rows under each other, filled with zeros to the largest size of each axis."""
    named = [name_parameters(weights) for weights in stacks]
    padded = {}
    for name in named[0]:
        parts = [parameters[name] for parameters in named]
        sizes = [max(axis) for axis in zip(*(p.shape[1:] for p in parts), strict=True)]
        whole = parts[0].new_zeros(sum(len(part) for part in parts), *sizes)
        start = 0
        for part in parts:
            rows = slice(start, start := start + len(part))
            whole[(rows, *(slice(size) for size in part.shape[1:]))] = part
        padded[name] = whole
    return gather_layers(padded)


class _ScaledPath(FastPath):
    """Plain SGD with a learning rate a replica.

    All gradients are linear in the error at the outputs, so it is scaled there.
    """

    def __init__(self, spec: RunSpec, weights: Weights, scale_R: Tensor) -> None:
        super().__init__(spec, weights)
        self._scale_R11 = scale_R[:, None, None]

    def differentiate(self, x: Tensor, y_RB: Tensor) -> BatchResult:
        """See `StepwisePath`."""
        result = super().differentiate(x, y_RB)
        self._delta.mul_(self._scale_R11)
        return result
