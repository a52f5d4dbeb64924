"""Each parameter: its law, its spectrum, its units, and whom it shares numbers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from birthmark.checkup.draws import find_shared_draws
from birthmark.checkup.layers import role_of, rows_of
from birthmark.checkup.origins import FEWEST, Origin, find_origin, torch_default_bound
from birthmark.checkup.passes import Gradient, gradient_rows
from birthmark.checkup.readings import TensorReading
from birthmark.checkup.spectra import read_spectrum
from birthmark.checkup.symmetry import count_distinct, sign_rows
from birthmark.measurements import clean_name

_SAMPLE = 100_000  # numbers that a median is taken of
_NEAR_ZERO = 0.01  # of the root mean square: 0.8 % of normal, 0.6 % of uniform weights


@torch.no_grad()
def read_tensors(
    model: nn.Module, gradients: Mapping[str, Gradient] | None
) -> tuple[TensorReading, ...]:
    """One reading for each parameter, in the order in which the model names them.

    Args:
        model: Its parameters are only read.
        gradients: By name; None when there was no backward pass.
    """
    shared = find_shared_draws(dict(model.named_parameters()))
    owners = dict(model.named_modules())
    readings = []
    for name, value in model.named_parameters():
        gradient = None if gradients is None else gradients.get(name)
        owner = owners[name.rpartition(".")[0]]
        reading = _read_tensor(name, value, owner, gradient)
        others = tuple(map(clean_name, shared.get(name, ())))
        readings.append(replace(reading, shares_draw_with=others))
    return tuple(readings)


def _read_tensor(
    name: str, value: Tensor, module: nn.Module, gradient: Gradient | None
) -> TensorReading:
    role = _role(name, value, module)
    flat = value.flatten().float() if value.is_floating_point() else value.flatten()
    nonfinite = int((~torch.isfinite(flat)).sum())
    readable = value.is_floating_point() and not nonfinite and value.numel() > 0
    fans = _nominal_fans(value) if role == "weight" else None
    matrix = rows_of(module, value) if value.ndim > 1 and role == "weight" else None
    spectrum = None
    if matrix is not None and readable:
        spectrum = read_spectrum(matrix)
    origin = find_origin(value, fans, spectrum) if readable else Origin("", (), "")
    default = _is_default(name, value, module, origin) if readable else None
    if default and role == "bias" and origin.family not in ("zeros", "constant"):
        # too few numbers to tell a family by their shape, but not by their bound
        words = f"torch_default (uniform, {float(flat.min()):.4g} to "
        origin = Origin(
            "uniform", ("torch_default",), f"{words}{float(flat.max()):.4g})"
        )
    rms = float(flat.square().mean().sqrt()) if readable else 0.0
    units = gradient_rows(module, name, value) if readable else None
    signs = None if units is None else sign_rows(units)
    slopes = None if gradient is None else gradient.signs
    jointly = None
    if signs is not None and slopes is not None:
        jointly = count_distinct(np.concatenate([signs, slopes], axis=1))
    return TensorReading(
        name=clean_name(name),
        shape=tuple(value.shape),
        dtype=str(value.dtype).removeprefix("torch."),
        role=role,
        layer=clean_name(name.rpartition(".")[0]),
        layer_kind=type(module).__name__,
        fan_in=fans[0] if fans else None,
        fan_out=fans[1] if fans else None,
        trainable=value.requires_grad,
        mean=float(flat.mean()) if readable else 0.0,
        std=float(flat.std(correction=0)) if readable else 0.0,
        near_zero=float((flat.abs() <= _NEAR_ZERO * rms).float().mean())
        if readable
        else 0.0,
        nonfinite=nonfinite,
        family=origin.family,
        law=origin.words or ("not finite" if nonfinite else "not read"),
        rules=origin.rules,
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
        gates=_gate_biases(name, value, module) if readable else (),
    )


def _role(name: str, value: Tensor, module: nn.Module) -> str:
    last = name.rpartition(".")[2]
    kind = role_of(module)
    if kind == "embedding":
        return "embedding"
    if kind == "norm":
        return "bias" if last == "bias" else "scale"
    if "bias" in last:
        return "bias"
    return "weight" if value.ndim > 1 and kind != "other" else "other"


def _nominal_fans(value: Tensor) -> tuple[int, int]:
    """Fans as torch.nn.init counts them, which overlooks groups and transposition."""
    field = value[0, 0].numel()
    return value.shape[1] * field, value.shape[0] * field


def _is_default(
    name: str, value: Tensor, module: nn.Module, origin: Origin
) -> bool | None:
    """Whether torch draws this kind of tensor so; None where that cannot be told."""
    kind, last = role_of(module), name.rpartition(".")[2]
    if kind == "norm":
        return origin.words == ("zeros" if last == "bias" else "constant 1")
    if kind == "embedding":
        return origin.family == "normal" and abs(origin_std(value) - 1) < 0.02
    if kind == "attention":
        if last == "in_proj_weight":
            return "glorot_uniform" in origin.rules
        return origin.family == "zeros" if "bias" in last else None
    if kind == "recurrent":
        return _fits_bound(value, 1 / int(module.hidden_size) ** 0.5)  # type: ignore[arg-type]
    if kind in ("dense", "conv"):
        if last == "weight" and value.numel() < FEWEST:
            return _fits_bound(value, torch_default_bound(_nominal_fans(value)[0]))
        weight = module._parameters.get("weight")  # reading a parametrized one runs it
        if weight is None:
            return None
        if last == "weight":
            return "torch_default" in origin.rules
        if isinstance(module, NonDynamicallyQuantizableLinear):  # inside of attention
            return origin.family == "zeros"
        return _fits_bound(value, torch_default_bound(_nominal_fans(weight)[0]))
    return None


def origin_std(value: Tensor) -> float:
    """Standard deviation of all numbers."""
    return float(value.float().std(correction=0))


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


def _gate_biases(name: str, value: Tensor, module: nn.Module) -> tuple[float, ...]:
    """Means of an LSTM's bias over its gates: input, forget, cell, output."""
    if not isinstance(module, nn.LSTM | nn.LSTMCell) or "bias" not in name:
        return ()
    return tuple(float(gate.float().mean()) for gate in value.chunk(4))
