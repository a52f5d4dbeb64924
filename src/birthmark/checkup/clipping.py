"""Does the loss clip probabilities, so that examples can be abandoned?

A loss that moves p into [eps, 1 - eps] before the logarithm has a gradient of exactly 0
outside, as Keras 3 has on its PyTorch and JAX backends (eps = 1e-7).
"""

from __future__ import annotations

import torch
from torch import Tensor

from birthmark.checkup.losses import LossFunction

_LOWEST = 37.0  # p = 1e-37: float32's smallest normal number is 1.2e-38
_HALVINGS = 12  # of 36 decades: eps to 2 %


def are_probabilities(outputs: Tensor) -> bool:
    """Whether outputs [B, C] (or [B, T, C]) lie in [0, 1] and add up to 1."""
    flat = outputs.detach().double()
    if flat.ndim < 2 or flat.shape[-1] < 2 or not torch.isfinite(flat).all():
        return False
    inside = bool(((flat >= 0) & (flat <= 1)).all())
    return inside and bool(((flat.sum(dim=-1) - 1).abs() < 1e-3).all())


def find_clip(
    loss: LossFunction, num_classes: int, target: Tensor, *, of_logits: bool
) -> float | None:
    """The probability of the true class below which the loss gives no gradient.

    Found by asking the loss itself, at one example whose true class has this
    probability.

    Args:
        loss: Of outputs [B, C] and classes [B].
        num_classes: C.
        target: The batch's, for its type.
        of_logits: Whether the loss takes logits; otherwise it takes probabilities.

    Returns:
        The eps; None when each probability down to 1e-37 keeps its gradient, or the
        loss does not take one class an example.
    """
    if target.is_floating_point() or num_classes < 2:
        return None
    y = torch.zeros(1, dtype=target.dtype, device=target.device)

    def has_gradient(exponent: float) -> bool:
        p = 10.0**-exponent
        row = torch.full((1, num_classes), (1 - p) / (num_classes - 1))
        row[0, 0] = p
        row = (row.log() if of_logits else row).to(target.device).requires_grad_(True)
        torch.autograd.backward(loss(row, y).mean())
        assert row.grad is not None
        return bool(row.grad[0, 0] != 0)

    try:
        low, high = 1.0, _LOWEST
        if not has_gradient(low) or has_gradient(high):
            return None
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if has_gradient(middle) else (low, middle)
    except Exception:  # a user's loss may refuse a single example in any way
        return None
    return float(10.0**-low)
