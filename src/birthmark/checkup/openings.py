"""Does a tensor without gradient get one, once the others have moved?

Zero gates, zero heads and zero scales are told from dead ends by trying: a few small
steps on copies, along the gradients that there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from birthmark.checkup.evaluation import Problem
from birthmark.checkup.isolation import alias_parameters, copy_buffers, standing_in
from birthmark.checkup.readings import TensorReading
from birthmark.checkup.second_moments import root_mean_square

_STEPS = 4  # a zero head, behind a zero gate, behind a zero scale, and one to spare
_STEP = 1e-2  # of a tensor's own size, or of 1 where it is zero


def find_opened(problem: Problem, tensors: Iterable[TensorReading]) -> frozenset[str]:
    """Names of those that get no gradient now, and one within four small steps."""
    closed = {
        t.name
        for t in tensors
        if t.gradient == 0 and t.trainable and not t.nonfinite and t.size
    }
    if not closed:
        return frozenset()
    model = problem.model
    leaves = {
        name: leaf.detach().clone().requires_grad_(leaf.requires_grad)
        for name, leaf in alias_parameters(model).items()
    }
    opened: set[str] = set()
    for _ in range(_STEPS):
        torch.manual_seed(0)
        gradients = _gradients(problem, leaves, copy_buffers(model))
        opened |= {name for name, g in gradients.items() if bool((g != 0).any())}
        if closed <= opened or not _move(leaves, gradients):
            break
    return frozenset(closed & opened)


def _gradients(
    problem: Problem, leaves: Mapping[str, Tensor], buffers: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    inside = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    with standing_in(problem.model, leaves, buffers):
        value = problem.evaluate().value
        torch.autograd.backward(value)
    found = {}
    for name, leaf in inside.items():
        gradient, leaf.grad = leaf.grad, None
        if gradient is not None:
            found[name] = gradient.to_dense() if gradient.is_sparse else gradient
    return found


@torch.no_grad()
def _move(leaves: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> bool:
    """One step along the gradient, of the same relative size for each tensor."""
    moved = False
    for name, gradient in gradients.items():
        size = root_mean_square(gradient)
        if not 0 < size < float("inf"):
            continue
        own = root_mean_square(leaves[name])
        leaves[name].sub_(gradient * (_STEP * (own or 1.0) / size))
        moved = True
    return moved
