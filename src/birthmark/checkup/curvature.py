"""The deep part: singular values of the Jacobian, and the sharpness of the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from scipy.sparse.linalg import ArpackError
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from birthmark.checkup.batches import first_tensor
from birthmark.checkup.evaluation import Problem
from birthmark.checkup.isolation import alias_parameters, copy_buffers, standing_in
from birthmark.checkup.readings import Curvature
from birthmark.theory import find_top_of

_MOST_OUTPUTS = 512  # rows of a Jacobian
_JACOBIAN_EXAMPLES = 4
_LANCZOS_VECTORS = 12  # kept, each as long as all parameters


def read_curvature(problem: Problem) -> Curvature:
    """Jacobian of the outputs by the inputs, and the Hessian's largest eigenvalue.

    The sharpness comes from ARPACK's Lanczos iteration (scipy's `eigsh`) on products of
    the Hessian with vectors, to a relative 1e-2 (Cohen et al. 2103.00065 compare it
    with 2 / lr). What a model does not allow is named in `unread`.
    """
    model = problem.model
    leaves, buffers = alias_parameters(model), copy_buffers(model)
    unread = []
    jacobian = sharpness = None
    # the other kernels of attention have no second derivative
    with sdpa_kernel(SDPBackend.MATH), standing_in(model, leaves, buffers):
        try:
            jacobian = _read_jacobian(problem)
        except (RuntimeError, ValueError) as error:
            unread.append(f"Jacobian: {error}")
        try:
            sharpness = _read_sharpness(problem, leaves)
        except (RuntimeError, ValueError, ArpackError) as error:
            unread.append(f"sharpness: {error}")
    return Curvature(jacobian, sharpness, tuple(unread))


def _read_jacobian(problem: Problem) -> dict[str, float]:
    batch = problem.batch
    x = batch.inputs
    if not x.is_floating_point():
        raise ValueError("the inputs are whole numbers, which have no derivative")
    if batch.keywords or len(batch.arguments) > 1 or problem.objective is not None:
        raise ValueError("read for models with one input only")
    x = x.detach().clone().requires_grad_(True)
    found = first_tensor(problem.model(x))
    if found is None:
        raise ValueError("the model gives no floating tensor")
    outputs = found[:_JACOBIAN_EXAMPLES].flatten(1)
    if outputs.shape[1] > _MOST_OUTPUTS:
        raise ValueError(f"{outputs.shape[1]} outputs are more than {_MOST_OUTPUTS}")
    values = []
    for one in outputs:
        rows = [
            torch.autograd.grad(value, x, retain_graph=True)[0].flatten()
            for value in one
        ]
        matrix = torch.stack(rows).double()
        values.append(torch.linalg.svdvals(matrix)[: min(matrix.shape)])
    s = torch.cat(values)
    largest = torch.stack([v[0] for v in values])
    smallest = torch.stack([v[-1] for v in values])
    conditions = torch.where(smallest > 0, largest / smallest, math.inf)
    return {
        "largest": float(largest.mean()),
        "smallest": float(smallest.mean()),
        "mean_square": float(s.square().mean()),
        "condition": float(conditions.median()),
    }


def _read_sharpness(problem: Problem, leaves: Mapping[str, Tensor]) -> float:
    evaluation = problem.evaluate()
    if evaluation.loss is None:
        raise ValueError("needs a loss: give (x, y)")
    value = evaluation.value
    inside = [leaf for leaf in leaves.values() if leaf.requires_grad]
    if not inside or not torch.isfinite(value):
        raise ValueError("needs parameters, and a loss that is finite")
    return find_top_of(value, tuple(inside), vectors=_LANCZOS_VECTORS).value
