"""Layers scaled until their outputs on a batch are as wanted: LSUV and Krähenbühl's."""

import math
from collections.abc import Collection

import torch
from torch import Tensor, nn

from birthmark.errors import WeightsError
from birthmark.network.initializations.directions import Directions, turn_to_data
from birthmark.network.initializations.observing import (
    Loss,
    MetLayer,
    layers_in_order,
    output_of,
    outputs_by_unit,
)
from birthmark.seeds import stream

_SAME = 1e-3  # relative change of the outputs that rounding can explain in float32


def lsuv(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    names: Collection[str],
    loss: Loss,
    *,
    tolerance: float = 0.01,
    max_steps: int = 10,
) -> None:
    """W /= std of each layer's outputs, until |Var - 1| <= tolerance (1511.06422).

    Mishkin & Matas, algorithm 1: layer by layer, from an orthogonal start. The variance
    is one number a layer, over examples, places and units.
    """
    for layer in layers_in_order(module, x, names):
        for _ in range(max_steps):
            variance = float(output_of(module, layer, x).double().var(correction=0))
            if variance == 0:
                raise WeightsError(
                    f"{layer} gives one number for the whole batch: lsuv cannot scale "
                    "it; take a batch with more examples"
                )
            if abs(variance - 1) <= tolerance:
                break
            _scale(layer.weight, 1 / math.sqrt(variance))


def krahenbuhl(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    names: Collection[str],
    loss: Loss,
    *,
    directions: Directions = "drawn",
    rounds: int = 30,
    damping: float = 0.25,
) -> None:
    """Units to mean 0 and variance 1 on the batch, then equal rates (1511.06856).

    Krähenbühl et al., algorithms 1 and 2, from a normal start; units without a bias
    keep their mean. `directions` are those of the start (`drawn`), or of each layer's
    inputs: their principal components (`pca`), or centroids of `kmeans`. `rounds` of
    the second step (0 leaves it out) scale layers against the next, so that the
    gradients of all are equal beside their weights; that needs a chain of layers with
    positively homogeneous activations (ReLU).

    Raises:
        WeightsError: A unit is constant, or the second step changes the outputs.
    """
    layers = layers_in_order(module, x, names)
    for layer in layers:
        if directions != "drawn":
            turn_to_data(module, layer, x, directions)
        _normalize_units(module, layer, x)
    if rounds and len(layers) > 1:
        _equalize_rates(module, layers, x, rounds, damping)


def _normalize_units(module: nn.Module, layer: MetLayer, x: Tensor) -> None:
    z = outputs_by_unit(module, layer, x).double()
    mean_O, std_O = z.mean(dim=0), z.std(dim=0, correction=0)
    if (std_O == 0).any():
        raise WeightsError(
            f"unit {int((std_O == 0).nonzero()[0])} of {layer} gives one number for "
            "the whole batch: krahenbuhl cannot scale it; take one with more examples"
        )
    with torch.no_grad():
        layer.weight.div_(std_O.reshape(-1, *[1] * (layer.weight.ndim - 1)))
        if layer.bias is not None:
            # the mean holds the old bias already
            layer.bias.copy_((layer.bias - mean_O) / std_O)


def _equalize_rates(
    module: nn.Module, layers: list[MetLayer], x: Tensor, rounds: int, damping: float
) -> None:
    with torch.no_grad():
        before = module(x)
    for _ in range(rounds):
        rates = _rates(module, layers, x)
        target = torch.exp(torch.log(rates).mean())
        for layer, after, rate in zip(layers, layers[1:], rates, strict=False):
            # larger weights change more slowly, and so the next layer's faster
            factor = float((rate / target) ** (damping / 2))
            _scale(layer.weight, factor)
            _scale(layer.bias, factor)
            _scale(after.weight, 1 / factor)
    with torch.no_grad():
        change = (module(x) - before).norm() / before.norm()
    if not change <= _SAME:
        raise WeightsError(
            f"equal rates of change altered the outputs by {float(change):.1%}: layers "
            "do not follow each other with ReLU between them; take rounds = 0"
        )


def _rates(module: nn.Module, layers: list[MetLayer], x: Tensor) -> Tensor:
    """Norm of the gradient of a random linear loss over the norm of the weights."""
    weights = [layer.weight for layer in layers]
    with torch.enable_grad():
        outputs = module(x)
        # random directions by example: squared gradients add up, as in the paper's C_k
        noise = stream(0, 0, "krahenbuhl", "direction").standard_normal(outputs.shape)
        value = (outputs * torch.from_numpy(noise).to(outputs)).sum()
        gradients = torch.autograd.grad(value, weights)
    ratios = [
        g.norm() / w.detach().norm() for g, w in zip(gradients, weights, strict=True)
    ]
    return torch.stack(ratios).double()


def _scale(tensor: Tensor | None, factor: float) -> None:
    if tensor is not None:
        with torch.no_grad():
            tensor.mul_(factor)
