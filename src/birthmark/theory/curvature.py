"""How a loss curves at given weights: sharpness, its direction, and that of batches.

The sharpness is the largest eigenvalue of the Hessian; ARPACK's Lanczos iteration finds
it from products of the Hessian with vectors. Gradient descent on a quadratic diverges
where it exceeds 2 / lr; for small batches what is compared with 2 / lr is the batch
sharpness, the mean over batches of g'Hg / g'g, where g and H are the gradient and the
Hessian of the batch's loss (Andreyev and Beneventano 2412.20553). Along one line the
smallest step that no longer lowers the loss says as much, for a few forward passes
(Kalra et al., arXiv 2601.16979).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from birthmark.shapes import Array

Parameters = tuple[Tensor, ...]
LossOfParameters = Callable[[Parameters], Tensor]
_LANCZOS_VECTORS = 6  # few: a product is dear, and the largest stands alone
MOST_EVALUATIONS = 9  # of the loss along a line, that before the step included
_FLAT = 1e-12  # of the mean square of gradients: nothing pulls


@dataclass(frozen=True)
class Top:
    """The largest eigenvalue of a Hessian, and its unit eigenvector in pieces.

    Where the loss is flat both are zero.
    """

    value: float
    vector: Parameters


def find_top(
    loss: LossOfParameters, parameters: Parameters, *, tol: float = 1e-2
) -> Top:
    """The sharpness and its eigenvector.

    Args:
        loss: Of the parameters.
        parameters: Where.
        tol: Relative, of the eigenvalue.
    """
    leaves = tuple(p.detach().clone().requires_grad_(True) for p in parameters)
    return find_top_of(loss(leaves), leaves, tol=tol)


def find_top_of(
    value: Tensor,
    leaves: Parameters,
    *,
    vectors: int = _LANCZOS_VECTORS,
    tol: float = 1e-2,
) -> Top:
    """The sharpness of a loss that has been computed, by the leaves of its graph.

    Args:
        value: The loss.
        leaves: With gradients; those that the loss does not depend on count as flat.
        vectors: Of Lanczos that are kept, each as long as all parameters.
        tol: Relative, of the eigenvalue.
    """
    multiply, _ = _make_product(value, leaves)
    sizes = [leaf.numel() for leaf in leaves]
    start = np.random.default_rng(0).standard_normal(sum(sizes))
    if not multiply(start).any():  # all examples are abandoned: flat
        return Top(0.0, tuple(torch.zeros(leaf.shape).double() for leaf in leaves))
    found, top = eigsh(
        LinearOperator((sum(sizes),) * 2, matvec=multiply, dtype=np.float64),
        k=1,
        which="LA",
        ncv=min(vectors, sum(sizes)),
        v0=start,
        tol=tol,
    )
    pieces = torch.split(torch.from_numpy(top[:, 0]), sizes)
    vector = tuple(v.view_as(p) for v, p in zip(pieces, leaves, strict=True))
    return Top(float(found[0]), vector)


def read_batch_sharpness(losses: list[LossOfParameters], at: Parameters) -> float:
    """The mean of g'Hg / g'g over batches, NaN if no batch has a gradient.

    Args:
        losses: Of batches.
        at: The parameters.
    """
    ratios = []
    for loss in losses:
        leaves = tuple(p.detach().clone().requires_grad_(True) for p in at)
        multiply, slopes = _make_product(loss(leaves), leaves)
        g = _flatten(slopes).detach()
        square = float(g.double() @ g.double())
        if square > _FLAT:
            ratios.append(float(multiply(g.numpy()) @ g.double().numpy()) / square)
    return float(np.mean(ratios)) if ratios else np.nan


def _make_product(
    value: Tensor, leaves: Parameters
) -> tuple[Callable[[Array], Array], Parameters]:
    """Products of the Hessian with flat vectors, and the gradient."""
    slopes = torch.autograd.grad(
        value, leaves, create_graph=True, allow_unused=True, materialize_grads=True
    )
    flat = _flatten(slopes)

    def multiply(vector: Array) -> Array:
        v = torch.from_numpy(np.asarray(vector).reshape(-1)).to(flat)
        products = torch.autograd.grad(
            flat @ v,
            leaves,
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        values: Array = _flatten(products).detach().cpu().double().numpy()
        return values

    return multiply, slopes


def _flatten(pieces: Parameters) -> Tensor:
    return torch.cat([piece.flatten() for piece in pieces])


def find_critical_step(loss_at: Callable[[float], float], guess: float = 2.0) -> float:
    """The smallest multiple of a step beyond which the loss is higher than before it.

    On a parabola with a step of lr along its gradient it is 2 / (lr * curvature), so
    that 2 / (lr * multiple) is the curvature along the step. The multiple is bracketed
    by doubling or halving from the guess, and the bracket is halved, in its logarithm,
    with the evaluations that are left: within 5 % from a guess within a factor of 2.

    Args:
        loss_at: The loss at a multiple of the step; 0 is before it.
        guess: Where to begin, best the multiple that was found before.

    Returns:
        NaN where no multiple that was tried raises the loss, or each does.
    """
    before = loss_at(0.0)
    low, high = 0.0, math.inf
    multiple = guess
    for _ in range(MOST_EVALUATIONS - 1):
        # NaN is no fall
        if loss_at(multiple) <= before:
            low = multiple
        else:
            high = multiple
        if high == math.inf:
            multiple = 2 * low
        elif low == 0.0:
            multiple = high / 2
        else:
            multiple = math.sqrt(low * high)
    return multiple if low > 0.0 and high < math.inf else math.nan
