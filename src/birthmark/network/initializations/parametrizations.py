"""Parametrizations: a law, a multiplier and factors on the learning rate, by layer.

A layer computes `multiplier * (a @ W)` and is trained with `lr * lr_factor`. The law
alone is not the parametrization: at finite width it is that all three grow together.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from birthmark.errors import SpecError, unknown_name
from birthmark.network.laws import Law, Normal

Role = Literal["input", "hidden", "output"]


@dataclass(frozen=True)
class Scaling:
    """How one layer is drawn, applied and trained."""

    law: Law
    multiplier: float  # on the product of activations and weights
    lr_sgd: float  # on the learning rate of plain SGD
    lr_adam: float  # on that of Adam
    bias_lr_sgd: float = 1.0  # on that of plain SGD for the biases; Adam's stays


def standard(fan_in: int, fan_out: int, role: Role) -> Scaling:
    """Variance 1 / fan_in, one learning rate."""
    return Scaling(_normal(1 / fan_in), 1.0, 1.0, 1.0)


def ntk(fan_in: int, fan_out: int, role: Role) -> Scaling:
    """W ~ N(0, 1) times 1 / sqrt(fan_in), one learning rate (Jacot et al. 1806.07572).

    Features stop moving as the width grows: the lazy regime.
    """
    return Scaling(_normal(1.0), 1 / math.sqrt(fan_in), 1.0, 1.0)


def mean_field(fan_in: int, fan_out: int, role: Role) -> Scaling:
    """Output times 1 / fan_in, learning rate times the width (Mei et al. 1804.06561).

    Hidden layers take 1 / sqrt(fan_in) (Yang & Hu 2011.14522, table 1: with c = -1 the
    same functions as muP). Under Adam, whose steps do not scale with the gradient, the
    factor undoes the multiplier and keeps muP's 1 / fan_in.
    """
    if role == "input":
        return Scaling(_normal(1 / fan_in), 1.0, fan_out, 1.0, fan_out)
    multiplier = 1 / fan_in if role == "output" else 1 / math.sqrt(fan_in)
    return Scaling(_normal(1.0), multiplier, fan_in, 1 / fan_in / multiplier, fan_out)


def mup(fan_in: int, fan_out: int, role: Role) -> Scaling:
    """Maximal update (Yang et al. 2203.03466, table 3): features move at any width.

    One learning rate then serves all widths. Biases are as weights of one input.
    """
    if role == "input":
        return Scaling(_normal(1 / fan_in), 1.0, fan_out, 1.0, fan_out)
    if role == "hidden":
        return Scaling(_normal(1 / fan_in), 1.0, 1.0, 1 / fan_in, fan_out)
    return Scaling(_normal(1 / fan_in**2), 1.0, 1 / fan_in, 1 / fan_in, fan_out)


def unit_mup(fan_in: int, fan_out: int, role: Role) -> Scaling:
    """N(0, 1) everywhere and the scales of muP in multipliers (2407.17465).

    The same functions as muP, in numbers that suit low precision.
    """
    multiplier = 1 / fan_in if role == "output" else 1 / math.sqrt(fan_in)
    same = mup(fan_in, fan_out, role)
    return Scaling(
        _normal(1.0),
        multiplier,
        same.lr_sgd / multiplier**2,
        same.lr_adam / multiplier,
        same.bias_lr_sgd,
    )


def spectral(fan_in: int, fan_out: int, role: Role) -> Scaling:
    """Spectral norms sqrt(fan_out / fan_in), of weights and updates (2310.17813).

    Std min(1, sqrt(fan_out / fan_in)) / sqrt(fan_in), learning rate times fan_out /
    fan_in under SGD, times 1 / fan_in under Adam. It needs no roles.
    """
    variance = min(1.0, fan_out / fan_in) / fan_in
    return Scaling(_normal(variance), 1.0, fan_out / fan_in, 1 / fan_in, fan_out)


PARAMETRIZATIONS: dict[str, Callable[[int, int, Role], Scaling]] = {
    "standard": standard,
    "ntk": ntk,
    "mean_field": mean_field,
    "mup": mup,
    "unit_mup": unit_mup,
    "spectral": spectral,
}


def parametrize(name: str, sizes: Sequence[int]) -> list[Scaling]:
    """The scalings of a dense network of these sizes, inputs first, classes last.

    Raises:
        SpecError: An unknown name, or less than two layers.
    """
    if name not in PARAMETRIZATIONS:
        raise unknown_name("parametrization", name, PARAMETRIZATIONS)
    if len(sizes) < 3:
        raise SpecError(
            "a parametrization tells hidden layers from inputs and outputs: it needs "
            f"at least two layers, got the sizes {list(sizes)}"
        )
    last = len(sizes) - 2
    roles: list[Role] = ["input", *["hidden"] * (last - 1), "output"]  # type: ignore[list-item]
    return [
        PARAMETRIZATIONS[name](fan_in, fan_out, role)
        for fan_in, fan_out, role in zip(sizes, sizes[1:], roles, strict=False)
    ]


def _normal(variance: float) -> Normal:
    return Normal(0.0, math.sqrt(variance))
