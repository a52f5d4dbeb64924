"""The loss of a dense relu network as a function of its parameters."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from birthmark.shapes import Weights
from birthmark.theory import LossOfParameters, Parameters
from birthmark.training import find_loss


def take_parameters(weights: Weights, replica: int) -> Parameters:
    """Weights and biases of one replica of a dense stack, in forward order."""
    return tuple(
        torch.as_tensor(np.asarray(part[replica]))
        for _, layer in weights.items()
        for part in (layer.w, layer.b)
    )


def make_loss(
    name: str, eps: float, x_NI: Tensor, y_N: Tensor, *, each: bool = False
) -> LossOfParameters:
    """The loss of these examples as a function of a dense relu network's parameters.

    Args:
        name: Of the loss.
        eps: Its clip, where it has one.
        x_NI: Inputs.
        y_N: Classes.
        each: Of each example instead of their mean.
    """
    value = find_loss(name).value

    def loss(parameters: Parameters) -> Tensor:
        a = x_NI
        for place in range(0, len(parameters), 2):
            if place:
                a = torch.relu(a)
            a = torch.addmm(parameters[place + 1], a, parameters[place])
        losses_N = value(a, y_N, eps)
        return losses_N if each else losses_N.mean()

    return loss
