"""Dense layers and plain SGD by hand, all replicas in each product."""

from itertools import pairwise
from typing import Self

import torch
from torch import Tensor

from birthmark.network import (
    ACTIVATIONS,
    forward_stack,
    gather_layers,
    name_parameters,
)
from birthmark.shapes import Layer, Weights
from birthmark.spec import RunSpec
from birthmark.training.sizes import PathBytes, StackSizes
from birthmark.training.stepwise import BatchResult, StepwisePath


class FastPath(StepwisePath):
    """Dense layers and plain SGD: the gradient product goes straight into the weights.

    A step needs no gradient buffer: `w -= lr a^T delta` is one product that
    accumulates. Gradients are of the mean over the batch. Layers with fewer outputs
    than inputs are stored as [R, O, I] and seen as [R, I, O]: the accumulating product
    is quicker along the longer side.
    """

    name = "fast"

    def __init__(self, spec: RunSpec, weights: Weights) -> None:
        stored = Weights({name: _store(layer) for name, layer in weights.items()})
        super().__init__(spec, name_parameters(stored))
        self.state: dict[str, Tensor] = {}
        self._layers = list(stored.layers.values())
        self._activation_name = spec.network.activation
        self._activation = ACTIVATIONS[spec.network.activation]
        self._buffers: dict[tuple[str, int, int], Tensor] = {}
        self._inputs: list[Tensor] = []  # what enters each layer, [R, B, I]
        self._kept: list[Tensor] = []  # what the derivative of the activation needs
        self._delta = torch.empty(0)

    @classmethod
    def count_bytes(cls, sizes: StackSizes, rows: int, count: int) -> PathBytes:
        """See `StepwisePath`."""
        inputs, *outputs = sizes.values
        batch, gathered = sizes.spec.training.batch_size, sizes.gathered(rows)
        # outputs of each layer and gradients by them, those of the loss included
        step = (
            gathered * (1 + sizes.item) + rows * batch * 2 * sum(outputs) * sizes.item
        )
        through = max(i + o for i, o in pairwise([0, *outputs]))
        values = rows * count * max(through, 3 * outputs[-1])
        seen = count * inputs * (1 + sizes.item)
        return PathBytes(sizes.weights, step, seen + values * sizes.item)

    def part(self, rows: slice) -> Self:
        """See `StepwisePath`."""
        part = super().part(rows)
        part._layers = list(gather_layers(part.parameters).layers.values())
        return part

    def forward(self, x_BI: Tensor) -> Tensor:
        """See `StepwisePath`."""
        weights = gather_layers(self.parameters)
        return forward_stack(weights, x_BI, self._activation_name)

    def differentiate(self, x: Tensor, y_RB: Tensor) -> BatchResult:
        """See `StepwisePath`."""
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
        """See `StepwisePath`."""
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
        if len(self._buffers.get(key, ())) < num_replicas:
            self._buffers[key] = b_RO.new_empty(num_replicas, batch_size, width)
        return self._buffers[key][:num_replicas]


def _store(layer: Layer) -> Layer:
    """A copy in the order in which the fast path updates it best."""
    _, fan_in, fan_out = layer.w.shape
    if fan_out < fan_in:
        w_ROI = layer.w.transpose(1, 2).clone(memory_format=torch.contiguous_format)
        return Layer(w_ROI.transpose(1, 2), layer.b.clone())
    return Layer(layer.w.clone(memory_format=torch.contiguous_format), layer.b.clone())
