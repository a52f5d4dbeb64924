"""Parts of stored tensors, with their axes in the order of another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch

from birthmark.shapes import Tensor
from birthmark.weight_files.stored import StoredTensor


@dataclass(frozen=True, eq=False)
class Piece:
    """A stored tensor, or a part of it along one axis, with its axes in some order."""

    tensor: StoredTensor
    order: tuple[int, ...] | None = None  # of its axes, after the part was taken
    part: tuple[int, int, int] | None = None  # axis, start, length
    unit: float = 1.0  # a power of two by which its numbers are divided

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """As it is compared."""
        shape = list(self.tensor.shape)
        if self.part is not None:
            shape[self.part[0]] = self.part[2]
        order = range(len(shape)) if self.order is None else self.order
        return tuple(shape[axis] for axis in order)

    @property
    def count(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        """As stored."""
        return self.tensor.dtype

    def load(self) -> Tensor:
        """A view, of the mapped file where there is one; in its unit, a copy."""
        tensor = self.tensor.load()
        if self.part is not None:
            tensor = tensor.narrow(*self.part)
        tensor = tensor if self.unit == 1.0 else tensor / self.unit
        return tensor if self.order is None else tensor.permute(self.order)


def layouts(a: tuple[int, ...], b: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Orders of the axes of a shape that make it the other, the simplest first.

    As it is, between torch's and Keras' order of a convolution, and turned over.
    """
    axes = tuple(range(len(a)))
    if len(a) != len(b):
        return
    orders = [axes]
    if len(a) >= 3:
        orders += [(*axes[2:], 1, 0), (axes[-1], axes[-2], *axes[:-2])]
    orders.append(axes[::-1])
    for order in dict.fromkeys(orders):
        if tuple(a[axis] for axis in order) == b:
            yield order
