"""What a rule is asked to fill: one tensor, its shape and its fans.

Inside of this room a tensor has the layout [*kernel, I, O], that of Keras, JAX and of
the stacked dense network. torch's [O, I, *kernel] is the same tensor seen otherwise, so
that one draw serves both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from birthmark.errors import SpecError
from birthmark.shapes import Array

Layout = Literal["IO", "OI"]
Mode = Literal["fan_in", "fan_out", "fan_avg"]


@dataclass(frozen=True)
class Target:
    """A weight tensor [*kernel, I, O], or the biases [O] beside it.

    The fans are those of the weights, for the biases too: num_in or num_out times the
    receptive field, as in torch, Keras and JAX; within a group, where there are groups.
    """

    num_in: int
    num_out: int
    kernel: tuple[int, ...] = ()
    name: str = ""  # `hidden1.w`, `features.0.weight`
    replica: int = 0
    is_vector: bool = False
    groups_in: int = 1  # one unit sees this part of num_in: a grouped transposed one
    groups_out: int = 1  # one input reaches this part of num_out: a grouped one

    @property
    def receptive_field(self) -> int:
        """Places of the kernel; 1 for a dense layer."""
        return math.prod(self.kernel)

    @property
    def fan_in(self) -> int:
        """Numbers that enter one unit."""
        return self.num_in // self.groups_in * self.receptive_field

    @property
    def fan_out(self) -> int:
        """Numbers that one input enters."""
        return self.num_out // self.groups_out * self.receptive_field

    def fan(self, mode: Mode) -> float:
        """`fan_in`, `fan_out` or their mean."""
        fans = {"fan_in": self.fan_in, "fan_out": self.fan_out}
        return fans.get(mode, (self.fan_in + self.fan_out) / 2)

    @property
    def shape(self) -> tuple[int, ...]:
        """[*kernel, I, O], or [O] of biases."""
        if self.is_vector:
            return (self.num_out,)
        return (*self.kernel, self.num_in, self.num_out)


def describe_target(
    shape: tuple[int, ...], *, layout: Layout = "IO", name: str = "", replica: int = 0
) -> Target:
    """The target of a tensor as a framework has it; a vector is its own fan, as Keras'.

    Raises:
        SpecError: The shape is empty or the layout unknown.
    """
    if layout not in ("IO", "OI"):
        raise SpecError(
            f"layout {layout!r} is unknown: 'IO' is [*kernel, in, out] of NumPy, Keras "
            "and JAX, 'OI' is torch's [out, in, *kernel]"
        )
    if not shape or min(shape) < 1:
        raise SpecError(f"a shape {tuple(shape)} has no weights to draw")
    if len(shape) == 1:
        return Target(shape[0], shape[0], (), name, replica, is_vector=True)
    *kernel, num_in, num_out = (
        shape if layout == "IO" else (*shape[2:], shape[1], shape[0])
    )
    return Target(num_in, num_out, tuple(kernel), name, replica)


def to_layout(tensor: Array, layout: Layout) -> Array:
    """A tensor [*kernel, I, O] as [O, I, *kernel], when the layout is `OI`."""
    if layout == "IO" or tensor.ndim < 2:
        return tensor
    return np.ascontiguousarray(np.moveaxis(tensor, (-1, -2), (0, 1)))


def from_layout(tensor: Array, layout: Layout) -> Array:
    """A tensor [O, I, *kernel] as [*kernel, I, O], when the layout is `OI`."""
    if layout == "IO" or tensor.ndim < 2:
        return tensor
    return np.ascontiguousarray(np.moveaxis(tensor, (0, 1), (-1, -2)))
