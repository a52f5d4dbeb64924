"""Activations and their Gaussian integrals.

For z ~ N(0, q): E phi(z)^2 carries the second moment forward, E phi'(z)^2 backward, and
E phi(u) phi(v) the correlation of two inputs (Poole et al. 1606.05340, eqs. 3 and 5;
Schoenholz et al. 1611.01232).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

_REACH = 8.0  # standard deviations: what lies beyond weighs 1e-15
_FINE = 4001  # points of a single integral: error below 1e-5 with a kink
_COARSE = 301  # points of each axis of a double one


@dataclass(frozen=True)
class Activation:
    """An activation function with its parameters; equal ones compare equal."""

    name: str
    parameters: tuple[float, ...] = ()

    def __call__(self, z: Tensor) -> Tensor:
        """The function itself."""
        return _FUNCTIONS[self.name](z, *self.parameters)

    @property
    def is_rectifier(self) -> bool:
        """Whether the slope is exactly 0 for negative inputs."""
        lower_is_zero = self.name == "hardtanh" and self.parameters[0] == 0
        return self.name == "relu" or lower_is_zero

    @property
    def saturation(self) -> float | None:
        """The size of z beyond which the slope is under 1 % of the largest."""
        if self.name == "tanh":
            return math.atanh(math.sqrt(0.99))  # phi' = 1 - tanh^2
        if self.name == "sigmoid":
            return 2 * math.atanh(math.sqrt(0.99))  # phi' = (1 - tanh^2(z / 2)) / 4
        return None


_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": lambda z, slope: functional.leaky_relu(z, slope),
    "elu": lambda z, alpha, scale, inner: torch.where(
        z > 0, scale * z, scale * alpha * torch.expm1(inner * z)
    ),
    "gelu": lambda z, tanh: functional.gelu(z, approximate="tanh" if tanh else "none"),
    "silu": functional.silu,
    "mish": functional.mish,
    "softplus": lambda z, beta: functional.softplus(z, beta),
    "hardswish": functional.hardswish,
    "hardtanh": lambda z, low, high: torch.clamp(z, low, high),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


@lru_cache(maxsize=4096)
def forward_moment(phi: Activation, q: float) -> float:
    """E phi(z)^2 for z ~ N(0, q)."""
    z, weight = _grid(_FINE)
    return float((phi(math.sqrt(q) * z).square() * weight).sum())


@lru_cache(maxsize=4096)
def slope_moment(phi: Activation, q: float) -> float:
    """E phi'(z)^2 for z ~ N(0, q): the factor of the backward second moment."""
    # half a cell aside, so that no point falls on a kink
    z, weight = _grid(_FINE, _REACH / (_FINE - 1))
    z = (math.sqrt(q) * z).requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(phi(z).sum(), z)
    return float((slope.square() * weight).sum())


@lru_cache(maxsize=4096)
def joint_moment(phi: Activation, q: float, correlation: float) -> float:
    """E phi(u) phi(v) for u, v ~ N(0, q) with this correlation."""
    c = min(max(correlation, -1.0), 1.0)
    if phi.name == "relu":  # the arc-cosine kernel (Cho & Saul 2009)
        bend = math.sqrt(1 - c * c) + c * (math.pi - math.acos(c))
        return q * bend / (2 * math.pi)
    z, weight = _grid(_COARSE)
    u = math.sqrt(q) * z[:, None]
    v = math.sqrt(q) * (c * z[:, None] + math.sqrt(1 - c * c) * z[None, :])
    return float((phi(u) * phi(v) * weight[:, None] * weight[None, :]).sum())


@lru_cache
def _grid(points: int, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """Points in standard deviations and their Gaussian weights, which add up to 1."""
    z = torch.linspace(-_REACH, _REACH, points, dtype=torch.float64) + shift
    weight = torch.exp(-z.square() / 2)
    return z, weight / weight.sum()
