"""Two ways to make a step of a stack: by hand for plain SGD, through autograd for all.

Both first look at a batch (`differentiate`) and then move the weights (`update`), so
that the engine can see a NaN between the two.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from birthmark.network import ACTIVATIONS, dense_forward, name_parameters
from birthmark.shapes import Layer, Weights
from birthmark.spec import RunSpec
from birthmark.training.losses import find_loss, true_class_probability
from birthmark.training.optimizers import OPTIMIZERS

Forward = Callable[[Mapping[str, Tensor], Tensor], Tensor]


@dataclass(frozen=True)
class BatchResult:
    """What a stack made of a batch, before the step."""

    loss_RB: Tensor
    p_true_RB: Tensor  # probability of the true class
    predicted_RB: Tensor  # class with the largest output


class Path(Protocol):
    """A way to train a stack whose parameters are changed in place."""

    parameters: dict[str, Tensor]  # [R, ...]
    state: dict[str, Tensor]  # of the optimizer; resuming needs it

    def differentiate(self, x: Tensor, y_RB: Tensor) -> BatchResult:
        """Losses and gradients of a batch: x is [R, B, I], or [B, I] for all."""

    def update(self, lr: float) -> None:
        """Make the step for the batch last seen."""


class FastPath:
    """Dense layers and plain SGD: the gradient product goes straight into the weights.

    A step needs no gradient buffer: `w -= lr a^T delta` is one product that
    accumulates. Gradients are of the mean over the batch. Layers with fewer outputs
    than inputs are stored as [R, O, I] and seen as [R, I, O]: the accumulating product
    is quicker along the longer side.
    """

    def __init__(self, spec: RunSpec, weights: Weights) -> None:
        stored = Weights({name: _store(layer) for name, layer in weights.items()})
        self.parameters = name_parameters(stored)
        self.state: dict[str, Tensor] = {}
        self._layers = list(stored.layers.values())
        self._activation = ACTIVATIONS[spec.network.activation]
        self._loss = find_loss(spec.training.loss)
        self._eps = spec.training.eps
        self._buffers: dict[tuple[str, int, int], Tensor] = {}
        self._inputs: list[Tensor] = []  # what enters each layer, [R, B, I]
        self._kept: list[Tensor] = []  # what the derivative of the activation needs
        self._delta = torch.empty(0)

    def differentiate(self, x: Tensor, y_RB: Tensor) -> BatchResult:
        """See `Path`."""
        num_replicas, batch_size = len(self._layers[0].b), x.shape[-2]
        a = x.expand(num_replicas, *x.shape[-2:])
        self._inputs, self._kept = [], []
        for index, layer in enumerate(self._layers):
            self._inputs.append(a)
            z = self._buffer("output", index, batch_size)
            torch.baddbmm(layer.b[:, None, :], a, layer.w, out=z)
            if index < len(self._layers) - 1:
                a = self._activation.apply_(z)
                self._kept.append(z if self._activation.keeps_input else a)
        predicted_RB = z.argmax(dim=-1)
        loss_RB, p_true_RB = self._loss.differentiate_(z, y_RB, self._eps)
        self._delta = z
        return BatchResult(loss_RB, p_true_RB, predicted_RB)

    def update(self, lr: float) -> None:
        """See `Path`."""
        delta_RBO = self._delta
        rate = lr / delta_RBO.shape[1]
        for index in reversed(range(len(self._layers))):
            layer, a_RBI = self._layers[index], self._inputs[index]
            before = None
            if index:
                # the weights as they were when the batch went through them
                before = self._buffer("delta", index - 1, delta_RBO.shape[1])
                torch.bmm(delta_RBO, layer.w.transpose(1, 2), out=before)
                before = self._activation.backward_(before, self._kept[index - 1])
            if layer.w.is_contiguous():
                layer.w.baddbmm_(a_RBI.transpose(1, 2), delta_RBO, alpha=-rate)
            else:
                w_ROI = layer.w.transpose(1, 2)
                w_ROI.baddbmm_(delta_RBO.transpose(1, 2), a_RBI, alpha=-rate)
            layer.b.sub_(delta_RBO.sum(dim=1), alpha=rate)
            if before is not None:
                delta_RBO = before

    def _buffer(self, role: str, index: int, batch_size: int) -> Tensor:
        b_RO = self._layers[index].b
        num_replicas, width = b_RO.shape
        key = (role, index, batch_size)
        if key not in self._buffers:
            self._buffers[key] = b_RO.new_empty(num_replicas, batch_size, width)
        return self._buffers[key]


def _store(layer: Layer) -> Layer:
    """A copy in the order in which the fast path updates it best."""
    _, fan_in, fan_out = layer.w.shape
    if fan_out < fan_in:
        w_ROI = layer.w.transpose(1, 2).clone(memory_format=torch.contiguous_format)
        return Layer(w_ROI.transpose(1, 2), layer.b.clone())
    return Layer(layer.w.clone(memory_format=torch.contiguous_format), layer.b.clone())


class GeneralPath:
    """Any network and optimizer, through `torch.func` over stacked parameters."""

    def __init__(
        self, spec: RunSpec, parameters: dict[str, Tensor], forward: Forward
    ) -> None:
        self.parameters = parameters
        self._optimizer = OPTIMIZERS[spec.training.optimizer](spec.training)
        self._grads: dict[str, Tensor] = {}
        loss, eps = find_loss(spec.training.loss), spec.training.eps

        def mean_loss(
            one: dict[str, Tensor], x_BI: Tensor, y_B: Tensor
        ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            z_BK = forward(one, x_BI)
            loss_B = loss.value(z_BK, y_B, eps)
            return loss_B.mean(), (loss_B, z_BK)

        self._differentiate = torch.func.grad(mean_loss, has_aux=True)

    @property
    def state(self) -> dict[str, Tensor]:
        """Moments of the optimizer."""
        return self._optimizer.state

    @state.setter
    def state(self, state: dict[str, Tensor]) -> None:
        self._optimizer.state = state

    def differentiate(self, x: Tensor, y_RB: Tensor) -> BatchResult:
        """See `Path`."""
        in_dims = (0, 0 if x.dim() > y_RB.dim() else None, 0)
        per_replica = torch.func.vmap(self._differentiate, in_dims=in_dims)
        self._grads, (loss_RB, z_RBK) = per_replica(self.parameters, x, y_RB)
        p_true_RB = true_class_probability(z_RBK, y_RB)
        return BatchResult(loss_RB, p_true_RB, z_RBK.argmax(dim=-1))

    def update(self, lr: float) -> None:
        """See `Path`."""
        self._optimizer.update(self.parameters, self._grads, lr)


def choose_path(spec: RunSpec, weights: Weights) -> Path:
    """The fast path where it applies: dense layers and SGD without state or decay.

    It starts from a copy of the weights, which stay as they are.
    """
    training = spec.training
    plain = training.optimizer == "sgd" and not (
        training.momentum or training.weight_decay
    )
    if plain:
        return FastPath(spec, weights)
    forward = dense_forward(spec.network.activation)
    return GeneralPath(spec, name_parameters(weights.clone()), forward)
