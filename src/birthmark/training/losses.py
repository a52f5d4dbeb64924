"""Losses of single examples, with their gradients by the outputs written by hand.

Each loss stands twice: `value` for autograd (the general path), and `differentiate_`
for the fast path, which overwrites the outputs with the gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from birthmark.errors import unknown_name


@dataclass(frozen=True)
class Loss:
    """One loss; `z` are raw outputs [..., B, K], `y` classes [..., B]."""

    # (z, y, eps) -> loss of each example [..., B]
    value: Callable[[Tensor, Tensor, float], Tensor]
    # (z, y, eps) -> loss [..., B], probability of the true class [..., B];
    # z becomes the gradient of each example's loss
    differentiate_: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]
    clips: bool = False  # examples below eps get no gradient


def true_class_probability(z: Tensor, y: Tensor) -> Tensor:
    """Softmax of the outputs at the true class, [..., B]."""
    return _pick(torch.softmax(z, dim=-1), y)


def _cross_entropy(z: Tensor, y: Tensor, eps: float) -> Tensor:
    return -_pick(torch.log_softmax(z, dim=-1), y)


def _cross_entropy_(z: Tensor, y: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    log_p = torch.log_softmax(z, dim=-1, out=z)
    loss = -_pick(log_p, y)
    p = log_p.exp_()
    p_true = _pick(p, y)
    _subtract_one_hot_(p, y)
    return loss, p_true


def _clipped_cross_entropy(z: Tensor, y: Tensor, eps: float) -> Tensor:
    p_true = true_class_probability(z, y)
    return -torch.log(torch.clamp(p_true, eps, 1 - eps))


def _clipped_cross_entropy_(z: Tensor, y: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    p = torch.softmax(z, dim=-1, out=z)
    p_true = _pick(p, y)
    clipped = torch.clamp(p_true, eps, 1 - eps)
    # what the clip did not change keeps its gradient: the edges are inside, as in torch
    inside = (clipped == p_true).to(p.dtype)
    _subtract_one_hot_(p, y)
    # a replica with NaN must not look as if it were merely clipped: 0 * NaN stays NaN
    p.mul_(inside.unsqueeze(-1))
    return -torch.log(clipped), p_true


def _mean_squared_error(z: Tensor, y: Tensor, eps: float) -> Tensor:
    # one_hot looks at the values of y, which vmap does not allow
    classes = torch.arange(z.shape[-1], device=z.device)
    target = (y.unsqueeze(-1) == classes).to(z.dtype)
    return (z - target).square().mean(dim=-1)


def _mean_squared_error_(z: Tensor, y: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    p_true = true_class_probability(z, y)
    _subtract_one_hot_(z, y)
    loss = z.square().mean(dim=-1)
    z.mul_(2 / z.shape[-1])
    return loss, p_true


LOSSES: dict[str, Loss] = {
    "cross_entropy": Loss(_cross_entropy, _cross_entropy_),
    "clipped_cross_entropy": Loss(
        _clipped_cross_entropy, _clipped_cross_entropy_, clips=True
    ),
    "mean_squared_error": Loss(_mean_squared_error, _mean_squared_error_),
}


def find_loss(name: str) -> Loss:
    """The loss of this name.

    Raises:
        SpecError: There is none; the message has the nearest.
    """
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    return LOSSES[name]


def _pick(values: Tensor, y: Tensor) -> Tensor:
    return values.gather(-1, y.unsqueeze(-1)).squeeze(-1)


def _subtract_one_hot_(values: Tensor, y: Tensor) -> None:
    ones = torch.ones((), dtype=values.dtype, device=values.device)
    index = y.unsqueeze(-1)
    values.scatter_add_(-1, index, -ones.expand(index.shape))
