"""Units that look where the data vary: principal components and k-means.

Both are used on the inputs of one layer, which are patches where it is a convolution.
Lengths mean nothing here: Krähenbühl's rule scales every unit afterwards.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from birthmark.errors import WeightsError
from birthmark.network.initializations.observing import MetLayer, input_of

Directions = Literal["drawn", "pca", "kmeans"]

_MOST_PATCHES = 20_000
_LEAST = 1e-6  # of the largest eigenvalue: below it inputs do not vary
_SOFTENED = 0.01  # of the mean eigenvalue, added to all before they are whitened
_ROUNDS = 10  # of k-means, as Coates & Ng found to be enough


def turn_to_data(
    module: nn.Module, layer: MetLayer, x: Tensor, directions: Directions
) -> None:
    """Turn the weights of a layer's units to the directions of its inputs.

    `pca`: unit k takes the principal component k; the draw before it decides about the
    sign, and units beyond the rank keep their draw. `kmeans`: centroids of spherical
    k-means on whitened inputs, from the draw (Coates & Ng, Neural Networks: Tricks of
    the Trade, 2012).

    Raises:
        WeightsError: The layer has groups, or its inputs do not vary.
    """
    weight_OI = layer.weight.detach().flatten(1).double()
    centred_NI = patches_of(module, layer, x).double()
    centred_NI = centred_NI - centred_NI.mean(dim=0)
    values, vectors_II = torch.linalg.eigh(centred_NI.T @ centred_NI / len(centred_NI))
    kept = values > _LEAST * values[-1]
    if not kept.any():
        raise WeightsError(
            f"the inputs of {layer} are the same for the whole batch: there are no "
            f"directions for {directions}; take a batch with more examples"
        )
    values, axes_KI = values[kept].flip(0), vectors_II[:, kept].flip(1).T
    if directions == "pca":
        turned_OI = _principal(weight_OI, axes_KI)
    else:
        scale_K = (values + _SOFTENED * values.mean()).rsqrt()
        whiten_KI = scale_K[:, None] * axes_KI
        start_OK = weight_OI @ axes_KI.T
        turned_OI = spherical_kmeans(centred_NI @ whiten_KI.T, start_OK) @ whiten_KI
    with torch.no_grad():
        layer.weight.copy_(turned_OI.reshape(layer.weight.shape))


def spherical_kmeans(
    points_NK: Tensor, start_OK: Tensor, rounds: int = _ROUNDS
) -> Tensor:
    """Unit vectors [O, K], each the main direction of the points nearest to its line.

    Points belong to the centroid of the largest |cosine|; its update is damped by the
    centroid itself, so that one without points stays.
    """
    centroids_OK = nn.functional.normalize(start_OK, dim=1)
    for _ in range(rounds):
        products_NO = points_NK @ centroids_OK.T
        nearest_N = products_NO.abs().argmax(dim=1, keepdim=True)
        share_NO = torch.zeros_like(products_NO).scatter_(
            1, nearest_N, products_NO.gather(1, nearest_N)
        )
        moved_OK = share_NO.T @ points_NK + centroids_OK
        centroids_OK = nn.functional.normalize(moved_OK, dim=1)
    return centroids_OK


def patches_of(module: nn.Module, layer: MetLayer, x: Tensor) -> Tensor:
    """What the units of a layer see, [patches, fan-in]; of many, some examples'.

    Raises:
        WeightsError: The units of a grouped convolution see different channels.
    """
    if getattr(layer.module, "groups", 1) > 1:
        raise WeightsError(
            f"{layer} is a grouped convolution, whose units see different channels: "
            "take directions = 'drawn'"
        )
    inputs = input_of(module, layer, x)
    fan_in = layer.weight[0].numel()
    # the layer with an identity for weights gives its patches, however it is padded
    identity = torch.eye(fan_in).to(layer.weight).reshape(-1, *layer.weight.shape[1:])
    parameters = {"weight": identity}
    if layer.bias is not None:
        parameters["bias"] = torch.zeros(fan_in).to(layer.bias)
    channel = -1 if isinstance(layer.module, nn.Linear) else 1
    with torch.no_grad():
        one: Tensor = functional_call(layer.module, parameters, (inputs[:1],))
        places = one.numel() // fan_in
        step = max(1, len(inputs) * places // _MOST_PATCHES)
        all_of = functional_call(layer.module, parameters, (inputs[::step],))
    patches: Tensor = all_of.movedim(channel, -1).flatten(0, -2)
    return patches


def _principal(weight_OI: Tensor, axes_KI: Tensor) -> Tensor:
    count = min(len(weight_OI), len(axes_KI))
    sign_O = (weight_OI[:count] * axes_KI[:count]).sum(dim=1).sign()
    turned_OI = weight_OI.clone()
    turned_OI[:count] = torch.where(sign_O == 0, 1.0, sign_O)[:, None] * axes_KI[:count]
    return turned_OI
