"""What the rules of torch's optimizers make of a gradient, of decay and of momentum.

Known for SGD, Adam and AdamW; of others nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def ln_shrink(
    optimizer: torch.optim.Optimizer, group: Mapping[str, Any]
) -> float | None:
    """What one step of decay leaves of a weight, its ln; None where it is not known."""
    decay, lr = float(group.get("weight_decay", 0.0)), float(group.get("lr", 0.0))
    if not decay:
        return 0.0
    if isinstance(optimizer, torch.optim.SGD):
        return math.log1p(-lr * decay / (1 - group["momentum"]))
    return math.log1p(-lr * decay) if _is_decoupled(optimizer, group) else None


def split_step(
    optimizer: torch.optim.Optimizer,
    group: Mapping[str, Any],
    state: Mapping[str, Any],
    taken: Mapping[str, Tensor],
    before: Tensor,
    gradient: Tensor,
) -> tuple[Tensor | None, Tensor | None]:
    """What of a step its gradient makes, and what weight decay; None if not known.

    Args:
        optimizer: That made the step.
        group: Its group of the tensor, as it was in the step.
        state: Its state of the tensor after the step.
        taken: Tensors of that state, at the places of the other two.
        before: The weights before the step.
        gradient: The gradient that it took.
    """
    w, g = before.double(), gradient.double()
    g = -g if group.get("maximize") else g
    decay, lr = float(group.get("weight_decay", 0.0)), float(group.get("lr", 0.0))
    if isinstance(optimizer, torch.optim.SGD):
        weight: float | Tensor = 1.0
        if group["momentum"]:
            # the first step takes the gradient whole: there is no sum before it
            weight = 1 - group["dampening"]
            weight = 1 + group["momentum"] * weight if group["nesterov"] else weight
        return -lr * weight * g, -lr * weight * decay * w
    if not isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW):
        return None, None
    squares = taken.get("max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq")
    if squares is None:
        return None, None
    (beta1, beta2), count = group["betas"], float(state["step"])
    size = squares.double().sqrt() / math.sqrt(1 - beta2**count) + group["eps"]
    rate = -lr * (1 - beta1) / (1 - beta1**count) / size
    is_decoupled = _is_decoupled(optimizer, group)
    return rate * g, (-lr * decay * w if is_decoupled else rate * decay * w)


def _is_decoupled(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> bool:
    return isinstance(optimizer, torch.optim.AdamW) or bool(
        group.get("decoupled_weight_decay")
    )
