"""Plain SGD in torch and autograd, for what the spec of a run cannot say.

Seeds and batch orders are those of the engine, so that replicas are pairs of its
replicas, and a network that a run could train too moves as it does there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from birthmark.seeds import batch_order
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from .probes import as_inputs

Parameters = dict[str, Tensor]  # `hidden1.w` [I, O], `hidden1.b` [O], ...
Forward = Callable[[Parameters, Tensor], Tensor]


@dataclass(frozen=True)
class Epoch:
    """Where a network stands at the end of an epoch."""

    parameters: Parameters
    train_loss: float  # mean over the examples as they were visited; NaN at epoch 0


def descend(
    start: Parameters,
    dataset: Dataset,
    spec: RunSpec,
    replica: int,
    forward: Forward,
    factors: dict[str, float] | None = None,
) -> Iterator[Epoch]:
    """Plain SGD on the cross-entropy from a start, epoch by epoch, itself first.

    Of the spec count seed, learning rate, batch size and epochs; a replica has batch
    orders of its own. Factors are on the learning rate, by parameter, and 1 otherwise.
    """
    training, factors = spec.training, factors or {}
    x_NI, y_N = as_inputs(dataset, "train")
    parameters = {n: p.clone().requires_grad_() for n, p in start.items()}
    yield Epoch(_detached(parameters), float("nan"))
    for epoch in range(training.epochs):
        order = torch.from_numpy(batch_order(spec.run.seed, replica, epoch, len(y_N)))
        total = 0.0
        for batch in torch.split(order, training.batch_size):
            loss = cross_entropy(forward(parameters, x_NI[batch]), y_N[batch])
            gradients = torch.autograd.grad(loss, list(parameters.values()))
            with torch.no_grad():
                for name, gradient in zip(parameters, gradients, strict=True):
                    parameters[name] -= training.lr * factors.get(name, 1.0) * gradient
            total += loss.item() * len(batch)
        yield Epoch(_detached(parameters), total / len(y_N))


def _detached(parameters: Parameters) -> Parameters:
    return {name: p.detach().clone() for name, p in parameters.items()}
