"""Each parameter: its law, its spectrum, its units, and whom it shares numbers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from birthmark.checkup.draws import find_shared_draws
from birthmark.checkup.law_detection import (
    FEWEST,
    DetectedLaw,
    detect_law,
    torch_default_bound,
)
from birthmark.checkup.layers import role_of
from birthmark.checkup.passes import Gradient
from birthmark.checkup.readings import TensorReading
from birthmark.checkup.roles import Roles
from birthmark.checkup.second_moments import (
    as_float,
    root_mean_square,
    standard_deviation,
)
from birthmark.checkup.spectra import read_spectrum
from birthmark.checkup.symmetry import count_distinct, sign_rows
from birthmark.checkup.thresholds import ERRORS
from birthmark.measurements import clean_name

_SAMPLE = 100_000  # numbers that a median is taken of
_NEAR_ZERO = 0.01  # of the root mean square: 0.8 % of normal, 0.6 % of uniform weights


@torch.no_grad()
def read_tensors(
    model: nn.Module,
    gradients: Mapping[str, Gradient] | None,
    roles: Roles | None = None,
) -> tuple[TensorReading, ...]:
    """One reading for each parameter, in the order in which the model names them.

    Args:
        model: Its parameters are only read.
        gradients: By name; None when there was no backward pass.
        roles: As the forward pass showed them; by class without.
    """
    parameters = {name: _readable(p) for name, p in model.named_parameters()}
    roles = roles or Roles(model, parameters, None)
    shared = find_shared_draws(parameters)
    wanted = dict(model.named_parameters())
    readings = []
    for name, value in parameters.items():
        gradient = None if gradients is None else gradients.get(name)
        reading = _read_tensor(name, value, roles, gradient)
        others = tuple(map(clean_name, shared.get(name, ())))
        readings.append(
            replace(
                reading,
                shares_draw_with=others,
                trainable=wanted[name].requires_grad,
                is_followed=wanted[name].layout is torch.strided,
                dtype=str(wanted[name].dtype).removeprefix("torch."),
            )
        )
    return tuple(readings)


def _readable(value: Tensor) -> Tensor:
    """The numbers as a dense tensor of a type that can be computed with."""
    value = value.detach()
    if value.layout is not torch.strided:
        value = value.to_dense()
    if value.is_floating_point() and value.element_size() == 1:
        value = value.float()
    return value


def _read_tensor(
    name: str, value: Tensor, roles: Roles, gradient: Gradient | None
) -> TensorReading:
    module, role = roles.owner(name), roles.role(name)
    flat = value.flatten()
    flat = as_float(flat) if flat.is_floating_point() else flat
    nonfinite = int((~torch.isfinite(flat)).sum())
    readable = value.is_floating_point() and not nonfinite and value.numel() > 0
    axes = roles.axes(name) if value.numel() else None
    fans = roles.fans(name)
    matrix = axes.rows(value) if axes is not None and value.ndim > 1 else None
    spectrum = None
    if matrix is not None and readable:
        spectrum = read_spectrum(matrix)
    drawn = _without_empty_rows(value) if role == "embedding" and readable else value
    law = DetectedLaw("", (), "")
    if readable:
        law = detect_law(drawn, fans, matrix, spectrum)
        if axes is not None and axes.transposed and axes.groups > 1:
            # one matrix of [O, I] for all groups, as `initialize_` draws it
            whole = value.transpose(0, 1).flatten(1)
            drawn_whole = detect_law(drawn, fans, whole, read_spectrum(whole))
            law = drawn_whole if drawn_whole.family == "orthogonal" else law
    default = _is_default(name, drawn, module, law) if readable else None
    if default and role == "bias" and law.family not in ("zeros", "constant"):
        # too few numbers to tell a family by their shape, but not by their bound
        words = f"torch_default (uniform, {float(flat.min()):.4g} to "
        law = DetectedLaw(
            "uniform", ("torch_default",), f"{words}{float(flat.max()):.4g})"
        )
    inside = flat
    if law.outliers is not None:  # one of them can outweigh all the others
        inside = flat[~torch.isin(flat, as_float(law.outliers))]
    rms = root_mean_square(value) if readable else 0.0
    units = roles.units(name, value) if readable else None
    signs = None if units is None else sign_rows(units)
    slopes = None if gradient is None else gradient.signs
    jointly = None
    if signs is not None and slopes is not None and len(signs) == len(slopes):
        jointly = count_distinct(np.concatenate([signs, slopes], axis=1))
    return TensorReading(
        name=clean_name(name),
        shape=tuple(value.shape),
        dtype=str(value.dtype).removeprefix("torch."),
        role=role,
        layer=clean_name(name.rpartition(".")[0]),
        layer_kind=type(module).__name__,
        fan_in=fans[0][0] if fans else None,
        fan_out=fans[0][1] if fans else None,
        trainable=value.requires_grad,
        mean=float(inside.mean()) if readable else 0.0,
        std=standard_deviation(inside) if readable else 0.0,
        near_zero=float((flat.abs() <= _NEAR_ZERO * rms).float().mean())
        if readable
        else 0.0,
        nonfinite=nonfinite,
        family=law.family,
        law=law.words or ("not finite" if nonfinite else "not read"),
        rules=law.rules,
        is_default=default,
        shares_draw_with=(),
        rank=spectrum.rank if spectrum else None,
        condition=spectrum.condition if spectrum else None,
        nullity=spectrum.nullity if spectrum else None,
        nullity_transposed=spectrum.nullity_transposed if spectrum else None,
        distinct_units=None if signs is None else count_distinct(signs),
        num_units=None if signs is None else len(signs),
        distinct_gradients=None if slopes is None else count_distinct(slopes),
        distinct_jointly=jointly,
        gradient=None if gradient is None else gradient.rms,
        gradient_flushed=None if gradient is None else gradient.flushed,
        reach=_reach(flat) if readable else 1.0,
        outliers=0 if law.outliers is None else law.outliers.numel(),
        denormal=_denormal(value) if readable else 0.0,
        gates=_gate_biases(name, value, module) if readable else (),
    )


def _without_empty_rows(value: Tensor) -> Tensor:
    """An embedding without the rows of zeros that padding has."""
    if value.ndim != 2:
        return value
    filled = (value != 0).any(dim=1)
    share = float(filled.float().mean())
    return value[filled] if 0.5 < share < 1 else value


def _nominal_fan_in(value: Tensor) -> int:
    """As torch.nn.init counts it, which overlooks groups and transposition."""
    return value[0].numel() if value.numel() else 1


def _is_default(
    name: str, value: Tensor, module: nn.Module, law: DetectedLaw
) -> bool | None:
    """Whether torch draws this kind of tensor so; None where that cannot be told."""
    kind, last = role_of(module), name.rpartition(".")[2]
    if isinstance(module, nn.Bilinear):
        return _fits_bound(value, 1 / module.in1_features**0.5)
    if kind == "norm":
        return law.words == ("zeros" if last == "bias" else "constant 1")
    if kind == "embedding":
        error = ERRORS / (2 * value.numel()) ** 0.5
        return law.family == "normal" and abs(std_about_zero(value) - 1) < error
    if kind == "attention":
        if last == "in_proj_weight":
            return "glorot_uniform" in law.rules
        return law.family == "zeros" if "bias" in last else None
    if kind == "recurrent":
        return _fits_bound(value, 1 / int(module.hidden_size) ** 0.5)  # type: ignore[arg-type]
    if kind in ("dense", "conv"):
        if last == "weight" and value.ndim > 1:
            bound = torch_default_bound(_nominal_fan_in(value))
            uniform = law.family == "uniform" or "torch_default" in law.rules
            return _fits_bound(value, bound) and (value.numel() < FEWEST or uniform)
        weight = _weight_beside(module)
        if weight is None or last != "bias":
            return None
        if isinstance(module, NonDynamicallyQuantizableLinear):  # inside of attention
            return law.family == "zeros"
        return _fits_bound(value, torch_default_bound(_nominal_fan_in(weight)))
    return None


def _weight_beside(module: nn.Module) -> Tensor | None:
    """A layer's weight, or a parameter of its shape: a parametrized one is computed."""
    found = (
        value
        for name, value in module.named_parameters()
        if name.startswith(("weight", "parametrizations.weight."))
        and not name.endswith(("_g", "original0"))
    )
    return next(found, None)


def std_about_zero(value: Tensor) -> float:
    """Standard deviation of all numbers."""
    return standard_deviation(value)


def _fits_bound(value: Tensor, bound: float) -> bool:
    """Whether the numbers can be draws from U(-bound, bound)."""
    reach = float(value.abs().max())
    # of n draws none comes within 16 / n of the bound once in 9 million times
    return bound * (1 - min(1.0, 16 / value.numel())) < reach <= bound * 1.004


def _reach(flat: Tensor) -> float:
    """Largest over median absolute value, of the numbers that are not 0."""
    size = flat.abs()
    size = size[size > 0]
    if not size.numel():
        return 1.0
    stride = max(1, size.numel() // _SAMPLE)
    return float(size.max() / size[::stride].median())


def _denormal(value: Tensor) -> float:
    size = value.abs()
    tiny = torch.finfo(value.dtype).tiny
    return float(((size > 0) & (size < tiny)).float().mean())


def _gate_biases(name: str, value: Tensor, module: nn.Module) -> tuple[float, ...]:
    """Means of an LSTM's bias over its gates: input, forget, cell, output."""
    if not isinstance(module, nn.LSTM | nn.LSTMCell) or "bias" not in name:
        return ()
    return tuple(float(gate.float().mean()) for gate in value.chunk(4))
