"""A batch of a data set, in the shape that a model's first layer takes."""

from __future__ import annotations

import numpy as np
from torch import nn

from birthmark.errors import SpecError, unknown_name
from birthmark.measurements import unwrap
from birthmark.seeds import batch_order
from birthmark.shapes import Array, Dataset

_SHAPES = ("auto", "flat", "image")


def take_batch(
    dataset: Dataset, model: object, *, examples: int = 128, shape: str = "auto"
) -> tuple[Array, Array]:
    """Training examples as the data set's preprocessing shows them, and their classes.

    Args:
        dataset: As loaded.
        model: Whose first layer decides under `auto`: a dense one of as many inputs as
            there are pixels takes them flat, any other takes images [B, 1, H, W].
        examples: How many; always the same ones, from all over the training set.
        shape: `flat`, `image` or `auto`.

    Returns:
        Inputs, float32, and classes, int64.

    Raises:
        SpecError: Unknown shape.
    """
    if shape not in _SHAPES:
        raise unknown_name("shape", shape, _SHAPES)
    if examples < 2:
        raise SpecError(f"a check-up needs at least 2 examples, got {examples}")
    chosen = batch_order(0, 0, 0, len(dataset.y_train))[:examples]
    pixels = dataset.x_train[chosen].astype(np.float32) / dataset.full_scale
    x = (pixels - dataset.mean) / dataset.std
    if shape == "image" or (shape == "auto" and not _takes_flat(model, x.shape[1])):
        channels = x.shape[1] // int(np.prod(dataset.image_shape))
        x = x.reshape(len(x), channels, *dataset.image_shape)
    return x.astype(np.float32), dataset.y_train[chosen].astype(np.int64)


def _takes_flat(model: object, num_inputs: int) -> bool:
    if not isinstance(model, nn.Module):
        return False
    for module in unwrap(model).modules():
        if next(module.parameters(recurse=False), None) is not None:
            return isinstance(module, nn.Linear) and module.in_features == num_inputs
    return False
