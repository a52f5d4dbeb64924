"""The stacked dense network: activations with their derivatives, the forward pass."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from birthmark.shapes import Layer, Weights


@dataclass(frozen=True)
class Activation:
    """A function of one number, in place, and the step back through it."""

    apply_: Callable[[Tensor], Tensor]
    # the gradient by z from that by phi(z) and the kept tensor, written over the first
    backward_: Callable[[Tensor, Tensor], Tensor]
    keeps_input: bool = False  # the kept tensor is z; otherwise phi(z)


_aten = torch.ops.aten


def _relu_backward_(grad: Tensor, out: Tensor) -> Tensor:
    return _aten.threshold_backward.grad_input(grad, out, 0, grad_input=grad)  # type: ignore[no-any-return]


def _tanh_backward_(grad: Tensor, out: Tensor) -> Tensor:
    return _aten.tanh_backward.grad_input(grad, out, grad_input=grad)  # type: ignore[no-any-return]


def _sigmoid_backward_(grad: Tensor, out: Tensor) -> Tensor:
    return _aten.sigmoid_backward.grad_input(grad, out, grad_input=grad)  # type: ignore[no-any-return]


def _gelu_backward_(grad: Tensor, z: Tensor) -> Tensor:
    return _aten.gelu_backward.grad_input(grad, z, grad_input=grad)  # type: ignore[no-any-return]


ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(torch.relu_, _relu_backward_),
    "tanh": Activation(torch.tanh_, _tanh_backward_),
    "sigmoid": Activation(torch.sigmoid_, _sigmoid_backward_),
    "gelu": Activation(torch.nn.functional.gelu, _gelu_backward_, keeps_input=True),
    "identity": Activation(lambda z: z, lambda grad, out: grad),
}


def forward_stack(weights: Weights, x: Tensor, activation: str) -> Tensor:
    """Outputs [R, B, K] of all replicas for x [B, I], or [R, B, I] for each its own."""
    last = len(weights) - 1
    a = x.expand(weights.num_replicas, *x.shape[-2:])
    for index, (_, layer) in enumerate(weights.items()):
        z_RBO = torch.baddbmm(layer.b[:, None, :], a, layer.w)
        a = z_RBO if index == last else ACTIVATIONS[activation].apply_(z_RBO)
    return a


def name_parameters(weights: Weights) -> dict[str, Tensor]:
    """`hidden1.w`, `hidden1.b`, ...: the tensors themselves, in forward order.

    `hidden3.scale` follows where the layer has one.
    """
    parameters = {}
    for name, layer in weights.items():
        parameters[f"{name}.w"], parameters[f"{name}.b"] = layer.w, layer.b
        if layer.scale is not None:
            parameters[f"{name}.scale"] = layer.scale
    return parameters


def gather_layers(parameters: Mapping[str, Tensor]) -> Weights:
    """The inverse of `name_parameters`."""
    names = [name.removesuffix(".w") for name in parameters if name.endswith(".w")]
    return Weights(
        {
            name: Layer(
                parameters[f"{name}.w"],
                parameters[f"{name}.b"],
                parameters.get(f"{name}.scale"),
            )
            for name in names
        }
    )
