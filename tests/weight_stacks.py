"""Small stacks of weights to be measured, and the same as plain NumPy arrays."""

import numpy as np
import torch

from birthmark.shapes import Layer, Weights

SIZES = {"hidden1": (13, 7), "hidden2": (7, 9), "output": (9, 5)}


def draw_stack(seed, *, dtype=torch.float64, replicas=3, sizes=SIZES, scale=1.0):
    """Skewed and heavy-tailed weights, so that no moment is zero by symmetry."""
    rng = np.random.default_rng(seed)
    layers = {}
    for name, (fan_in, fan_out) in sizes.items():
        w = rng.gamma(2.0, size=(replicas, fan_in, fan_out)) - 1.5
        b = rng.normal(size=(replicas, fan_out)) ** 3
        layers[name] = Layer(
            torch.tensor(scale * w).to(dtype), torch.tensor(scale * b).to(dtype)
        )
    return Weights(layers)


def move(weights, seed, size=0.1):
    """The weights after random moves of another law than their own."""
    moves = draw_stack(seed, replicas=weights.num_replicas, sizes=_sizes(weights))
    return Weights(
        {
            name: Layer(
                layer.w + size * moves[name].w.to(layer.w.dtype),
                layer.b + size * moves[name].b.to(layer.b.dtype),
            )
            for name, layer in weights.items()
        }
    )


def one_layer(w, b=None):
    """A stack of one layer from arrays w [R, I, O] (or [I, O]) and b [R, O]."""
    w = torch.as_tensor(w)
    w = w[None] if w.ndim == 2 else w
    b = torch.zeros(w.shape[::2], dtype=w.dtype) if b is None else torch.as_tensor(b)
    return Weights({"output": Layer(w, b)})


def rows_of(weights, layer, *, bias=False):
    """[R, N] float64 NumPy rows of one tensor."""
    tensor = weights[layer].b if bias else weights[layer].w
    return tensor.detach().numpy().astype(np.float64).reshape(len(tensor), -1)


def _sizes(weights):
    return {name: tuple(layer.w.shape[1:]) for name, layer in weights.items()}
