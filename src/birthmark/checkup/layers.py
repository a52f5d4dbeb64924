"""Which modules are layers, what role they play, and their fans."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

Role = Literal["dense", "conv", "norm", "embedding", "recurrent", "attention", "other"]

_NORMS = (
    _BatchNorm,
    _InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    *((nn.RMSNorm,) if hasattr(nn, "RMSNorm") else ()),
)
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_KNOWN: tuple[tuple[tuple[type[nn.Module], ...], Role], ...] = (
    ((nn.Linear,), "dense"),
    ((_ConvNd,), "conv"),
    (_NORMS, "norm"),
    ((nn.Embedding,), "embedding"),
    (_RECURRENT, "recurrent"),
    ((nn.MultiheadAttention,), "attention"),
)


def role_of(module: nn.Module) -> Role:
    """What a module does to a signal."""
    for kinds, role in _KNOWN:
        if isinstance(module, kinds):
            return role
    return "other"


def find_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules whose output is looked at: known ones, and leaves with parameters."""
    inside: set[nn.Module] = set()
    for name, module in model.named_modules():
        if module in inside:
            continue
        if role_of(module) != "other":
            inside.update(module.modules())
            yield name, module
        elif next(module.parameters(), None) is not None and not any(
            next(child.parameters(), None) is not None for child in module.children()
        ):
            yield name, module


def unit_axis(module: nn.Module, output: Tensor) -> int | None:
    """The axis of features or channels in a batched output."""
    role = role_of(module)
    if role == "conv" or isinstance(module, _BatchNorm | _InstanceNorm | nn.GroupNorm):
        return 1
    return None if role == "other" else output.ndim - 1


def fans(role: Role, module: nn.Module, weight: Tensor) -> tuple[int, int]:
    """Fan-in and fan-out: connections of one output, and of one input (stride 1)."""
    if role == "conv" and isinstance(module, _ConvNd):
        field = math.prod(module.kernel_size)
        groups = module.groups
        return (
            module.in_channels // groups * field,
            module.out_channels // groups * field,
        )
    return int(weight.shape[-1]), int(weight.shape[0])


def valid_fan_in(module: nn.Module, x: Tensor, fan_in: int) -> tuple[float, float]:
    """What one output adds up, with padding taken into account.

    Returns:
        The mean over outputs of the sum of x^2 over an output's inputs, divided by
        the mean of x^2; and the mean number of inputs that are not padding.
    """
    if not isinstance(module, _ConvNd) or module.padding_mode != "zeros":
        return float(fan_in), float(fan_in)
    square = x.square().mean(dim=1, keepdim=True)
    mean = float(square.mean())
    field = math.prod(module.kernel_size)
    per_channel = fan_in / field
    valid = float(_sum_fields(module, torch.ones_like(square[:1])).mean())
    if not mean > 0 or not math.isfinite(mean):
        return valid * per_channel, valid * per_channel
    seen = float(_sum_fields(module, square).mean()) / mean
    return seen * per_channel, valid * per_channel


def _sum_fields(module: _ConvNd, square: Tensor) -> Tensor:
    """Sums over receptive fields of one channel, [B, 1, ...]."""
    weight = square.new_ones(1, 1, *module.kernel_size)
    dims = len(module.kernel_size)
    if isinstance(module, _ConvTransposeNd):
        function = (
            functional.conv_transpose1d,
            functional.conv_transpose2d,
            functional.conv_transpose3d,
        )
        return function[dims - 1](
            square,
            weight,
            None,
            module.stride,
            cast("tuple[int, ...]", module.padding),
            module.output_padding,
            1,
            module.dilation,
        )
    plain = (functional.conv1d, functional.conv2d, functional.conv3d)
    return plain[dims - 1](
        square, weight, None, module.stride, module.padding, module.dilation
    )
