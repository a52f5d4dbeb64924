"""What a layer shows while the batch passes: taken in hooks, kept as few numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd

from birthmark.checkup.layers import Role, fans, unit_axis, valid_fan_in
from birthmark.checkup.prediction import Transfer
from birthmark.checkup.second_moments import (
    as_float,
    second_moment,
    standard_deviation,
)
from birthmark.checkup.separation import Geometry, read_geometry
from birthmark.checkup.thresholds import FRESH_UNITS
from birthmark.theory import Activation

_TANH = Activation("tanh").saturation or 0.0
_SIGMOID = Activation("sigmoid").saturation or 0.0


@dataclass
class ActivationStatistics:
    """One layer's numbers on the batch; the gradient comes later."""

    name: str
    kind: str  # class of the module, or the operation
    role: Role
    unit_axis: int | None  # of the output
    shape: tuple[int, ...]  # of one example's output
    input_node: Any
    output_node: Any
    input_moment: float | None
    moment: float
    input_geometry: Geometry | None
    geometry: Geometry | None
    num_units: int | None
    silent: float | None  # share of units that are never above 0
    seldom: float | None  # share above 0 on less than 1 % of the batch
    silent_fresh: float | None
    beyond_tanh: float
    beyond_sigmoid: float
    nonfinite: int
    steps: int | None
    gain: tuple[float, float, float] | None  # forward gain, shift, energy gain
    is_norm: bool
    statistics: float | None = None  # median of ln(running / batch second moment)
    energy: float | None = None  # sum of squares of one example's gradient
    without_gradient: float | None = None

    @property
    def transfer(self) -> Transfer | None:
        """What mean-field theory needs of this layer; None when it knows no law."""
        if self.gain is None or (self.input_moment is None and not self.is_norm):
            return None
        before = self.input_geometry
        return Transfer(
            gain=self.gain[0],
            shift=self.gain[1],
            energy_gain=self.gain[2],
            input_moment=self.input_moment or 0.0,
            input_correlation=None if before is None else before.cosine,
            output_energy=self.energy,
            is_norm=self.is_norm,
        )


@torch.no_grad()
def read_layer(
    name: str,
    module: nn.Module,
    role: Role,
    x: Tensor | None,
    output: Tensor,
    num_examples: int,
) -> ActivationStatistics:
    """Measure a layer from what came in (None when no floats did) and what came out."""
    flat = as_float(output.detach())
    moment = second_moment(flat)
    nonfinite = 0 if math.isfinite(moment) else int((~flat.isfinite()).sum())
    axis = unit_axis(module, output)
    silent, seldom = _count_silent(flat, axis, nonfinite)
    gain, is_norm = _read_gain(module, role, x)
    fresh = _draw_fresh(module, role, x) if silent and x is not None else None
    size = flat.abs()
    examples = split_examples(output, num_examples)
    inputs = None if x is None else split_examples(x, num_examples)
    return ActivationStatistics(
        name=name,
        kind=type(module).__name__,
        role=role,
        unit_axis=axis,
        shape=tuple(output.shape[1:]),
        input_node=None if x is None else x.grad_fn,
        output_node=output.grad_fn,
        input_moment=None if x is None else second_moment(x),
        moment=moment,
        input_geometry=None if inputs is None else read_geometry(inputs),
        geometry=None if examples is None else read_geometry(examples),
        num_units=None if axis is None else int(output.shape[axis]),
        silent=silent,
        seldom=seldom,
        silent_fresh=fresh,
        beyond_tanh=float((size > _TANH).float().mean()),
        beyond_sigmoid=float((size > _SIGMOID).float().mean()),
        nonfinite=nonfinite,
        steps=output.numel() // output.shape[-1] // num_examples
        if role == "recurrent"
        else None,
        gain=gain,
        is_norm=is_norm,
        statistics=_compare_statistics(module, x),
    )


def _compare_statistics(module: nn.Module, x: Tensor | None) -> float | None:
    """ln(running variance / batch variance); None where the running one has no say."""
    running = getattr(module, "running_var", None)
    if not isinstance(module, _BatchNorm) or running is None or x is None or x.ndim < 2:
        return None
    seen = getattr(module, "num_batches_tracked", None)
    if module.training and (seen is None or int(seen) <= 1):
        return None
    mean = getattr(module, "running_mean", None)
    centre = x.detach().double().transpose(0, 1).flatten(1)
    if isinstance(mean, Tensor):  # about the running mean: one that is off counts too
        centre = centre - mean.double()[:, None]
    batch = centre.square().mean(dim=1)
    both = (running > 0) & (batch > 0) & batch.isfinite()
    if not both.any():
        return None
    return float((running[both].double() / batch[both]).log().median())


@torch.no_grad()
def read_product(
    name: str,
    kind: str,
    x: Tensor,
    weight: Tensor,
    fan_in: int,
    output: Tensor,
    num_examples: int,
    *,
    unit_axis: int,
) -> ActivationStatistics:
    """Measure a product of the data with a matrix that no known module holds.

    Args:
        name: Of the row.
        kind: The class of the module, or the operation.
        x: What came in; its examples may stand in rows beside tokens.
        weight: As it was multiplied: masked, normalized, cut out of a larger one.
        fan_in: Numbers that are added up for one output.
        output: What came out.
        num_examples: Of the batch.
        unit_axis: Of the output.
    """
    flat = as_float(output.detach())
    moment = second_moment(flat)
    nonfinite = 0 if math.isfinite(moment) else int((~flat.isfinite()).sum())
    silent, seldom = _count_silent(flat, unit_axis, nonfinite)
    gain = fan_in * second_moment(weight)
    size = flat.abs()
    examples = split_examples(output, num_examples)
    inputs = split_examples(x, num_examples)
    rows = output.shape[0] / max(num_examples, 1)
    beside = (int(rows),) if output.ndim == 2 and rows > 1 and rows.is_integer() else ()
    return ActivationStatistics(
        name=name,
        kind=kind,
        role="conv" if output.ndim > 3 else "dense",
        unit_axis=unit_axis,
        shape=(*beside, *output.shape[1:]),
        input_node=x.grad_fn,
        output_node=None,
        input_moment=second_moment(x),
        moment=moment,
        input_geometry=None if inputs is None else read_geometry(inputs),
        geometry=None if examples is None else read_geometry(examples),
        num_units=int(output.shape[unit_axis]),
        silent=silent,
        seldom=seldom,
        silent_fresh=None,
        beyond_tanh=float((size > _TANH).float().mean()),
        beyond_sigmoid=float((size > _SIGMOID).float().mean()),
        nonfinite=nonfinite,
        steps=None,
        gain=(gain, 0.0, gain),
        is_norm=False,
    )


def _count_silent(
    flat: Tensor, axis: int | None, nonfinite: int
) -> tuple[float | None, float | None]:
    """Shares of units that are never above 0, and on less than 1 % of the batch."""
    if axis is None or not 0 < axis < flat.ndim or nonfinite:
        return None, None
    others = [dim for dim in range(flat.ndim) if dim != axis]
    active = (flat > 0).float().mean(dim=others)
    return float((active == 0).float().mean()), float((active < 0.01).float().mean())


@torch.no_grad()
def add_gradient(
    layer: ActivationStatistics, gradient: Tensor, num_examples: int
) -> None:
    """Take the gradient of the mean loss by a layer's output into its statistics."""
    flat = as_float(gradient.detach())
    # the mean over examples divides each one's gradient by their number
    layer.energy = second_moment(flat) * flat.numel() * num_examples
    axis = layer.unit_axis
    if axis is not None and 0 < axis < flat.ndim:
        others = [dim for dim in range(flat.ndim) if dim != axis]
        none = flat.abs().amax(dim=others) == 0
        layer.without_gradient = float(none.float().mean())


def split_examples(values: Tensor, num_examples: int) -> Tensor | None:
    """[B, ...] of any tensor that has the examples in front, or behind time."""
    if values.ndim == 0 or num_examples < 2:
        return None
    if values.shape[0] == num_examples:
        return values
    if values.ndim > 2 and values.shape[1] == num_examples:
        return values.transpose(0, 1)
    if values.shape[0] % num_examples == 0:  # windows or tokens beside examples
        return values.reshape(num_examples, -1)
    return None


def _read_gain(
    module: nn.Module, role: Role, x: Tensor | None
) -> tuple[tuple[float, float, float] | None, bool]:
    weight = getattr(module, "weight", None)
    bias = getattr(module, "bias", None)
    shift = second_moment(bias) if isinstance(bias, Tensor) else 0.0
    if x is None or not x.numel():
        return None, False
    x = as_float(x.detach())
    if role in ("dense", "conv") and isinstance(weight, Tensor):
        square = second_moment(weight)
        seen, valid = valid_fan_in(module, x, fans(role, module, weight)[0])
        return (seen * square, shift, valid * square), False
    if role != "norm":
        return None, False
    scale = second_moment(weight) if isinstance(weight, Tensor) else 1.0
    if isinstance(module, _BatchNorm):
        fixed = not module.training and module.running_var is not None
        others = [dim for dim in range(x.ndim) if dim != 1]
        var = module.running_var if fixed else x.var(dim=others, correction=0)
        assert isinstance(var, Tensor)
        slope = scale * float((1 / (var + module.eps)).mean())
        if fixed:  # an affine map with the statistics that it has
            return (slope, shift, slope), False
        return (slope, scale + shift, slope), True
    return (0.0, scale + shift, scale / max(float(x.var()), 1e-12)), True


def _draw_fresh(module: nn.Module, role: Role, x: Tensor) -> float | None:
    """Share of silent units among fresh ones with symmetric weights, on this input."""
    if isinstance(module, _BatchNorm) and module.training:
        return 0.0  # a channel of mean 0 is above 0 somewhere
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    if role not in ("dense", "conv") or not isinstance(weight, Tensor):
        return None
    if getattr(module, "groups", 1) != 1 or isinstance(module, _ConvTransposeNd):
        return None
    generator = torch.Generator().manual_seed(0)
    x = as_float(x.detach())
    shape = (FRESH_UNITS, *weight.shape[1:])
    std = standard_deviation(weight)
    drawn = torch.randn(shape, generator=generator).to(x) * std
    shift = x.new_zeros(FRESH_UNITS)
    if isinstance(bias, Tensor):
        # the median does not see the few biases that may be the fault
        width = float(as_float(bias).abs().median()) / 0.6745
        shift = torch.randn(FRESH_UNITS, generator=generator).to(x) * width
    if role == "dense":
        z = functional.linear(x, drawn, shift).flatten(0, -2)
        return float((z <= 0).all(dim=0).float().mean())
    z = module._conv_forward(x, drawn, shift)  # type: ignore[operator]
    others = [dim for dim in range(z.ndim) if dim != 1]
    return float((z.amax(dim=others) <= 0).float().mean())
