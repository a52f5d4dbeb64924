"""Signals of a random network: pairs of inputs sent through, a gradient sent back."""

from __future__ import annotations

import numpy as np
import torch

from birthmark.network import draw_weights
from birthmark.shapes import Array
from birthmark.spec import RunSpec


def pair_up(x_NI: Array, correlation: float) -> Array:
    """Pairs of inputs of second moment 1 with exactly this correlation, [2, N/2, I].

    The second of a pair is made from the first and from the part of another example
    that is orthogonal to it.
    """
    first, other = x_NI[0::2], x_NI[1::2]
    size = np.sqrt(x_NI.shape[1])
    first = size * first / np.linalg.norm(first, axis=1, keepdims=True)
    shadow = (first * other).sum(axis=1, keepdims=True) / size**2
    aside = other - shadow * first
    aside = size * aside / np.linalg.norm(aside, axis=1, keepdims=True)
    return np.stack([first, correlation * first + np.sqrt(1 - correlation**2) * aside])


def propagate(spec: RunSpec, x_BI: torch.Tensor, replica: int) -> tuple[Array, Array]:
    """Pre-activations of the hidden layers, and gradients by them, each [L, B, O].

    The gradient is that of the outputs along one random direction an example.
    """
    weights = draw_weights(spec, x_BI.shape[1], 10, replicas=[replica])
    function = {"tanh": torch.tanh, "relu": torch.relu}[spec.network.activation]
    kept = []
    signal = x_BI
    for _, layer in weights.items():
        z_BO = torch.addmm(layer.b[0], signal, layer.w[0]).requires_grad_()
        z_BO.retain_grad()
        kept.append(z_BO)
        signal = function(z_BO)
    generator = torch.Generator().manual_seed(replica)
    kept[-1].backward(torch.randn(kept[-1].shape, generator=generator).double())  # type: ignore[no-untyped-call]
    hidden = kept[:-1]
    gradients = [z.grad.numpy() for z in hidden if z.grad is not None]
    return np.stack([z.detach().numpy() for z in hidden]), np.stack(gradients)


def correlate_pairs(z_LBO: Array, num_starts: int) -> Array:
    """Mean over pairs of the cosine of the two of a pair, [S, L].

    Args:
        z_LBO: B counts S starts, then the two of a pair, then the pairs.
        num_starts: S.
    """
    z = z_LBO.reshape(len(z_LBO), num_starts, 2, -1, z_LBO.shape[-1])
    u, v = z[:, :, 0], z[:, :, 1]
    norms = np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1)
    return np.asarray(((u * v).sum(axis=-1) / norms).mean(axis=-1).T)
