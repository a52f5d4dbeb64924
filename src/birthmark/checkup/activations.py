"""Activations as autograd names them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from birthmark.theory import Activation


def _saved(*names: str) -> Callable[[Any], tuple[float, ...]]:
    return lambda node: tuple(float(getattr(node, f"_saved_{one}")) for one in names)


_NODES: dict[str, tuple[str, Callable[[Any], tuple[float, ...]]]] = {
    "ReluBackward": ("relu", _saved()),
    "LeakyReluBackward": ("leaky_relu", _saved("negative_slope")),
    "EluBackward": ("elu", _saved("alpha", "scale", "input_scale")),
    "GeluBackward": (
        "gelu",
        lambda node: (float(node._saved_approximate == "tanh"),),
    ),
    "SiluBackward": ("silu", _saved()),
    "MishBackward": ("mish", _saved()),
    "SoftplusBackward": ("softplus", _saved("beta")),
    "HardswishBackward": ("hardswish", _saved()),
    "HardtanhBackward": ("hardtanh", _saved("min_val", "max_val")),
    "TanhBackward": ("tanh", _saved()),
    "SigmoidBackward": ("sigmoid", _saved()),
}


def read_activation(node: Any) -> Activation | None:
    """The activation of an autograd node; None when it is something else."""
    entry = _NODES.get(node.name().rstrip("0123456789"))
    return Activation(entry[0], entry[1](node)) if entry else None
