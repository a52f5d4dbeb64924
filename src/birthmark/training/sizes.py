"""What memory follows from before anything is drawn: a spec, and the sizes of data."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch

from birthmark.network import Chain, find_laws
from birthmark.spec import RunSpec


@dataclass(frozen=True)
class StackSizes:
    """The stack of a run, in numbers."""

    spec: RunSpec
    example_shape: tuple[int, ...]  # channels, height, width
    num_classes: int
    device: str

    @property
    def num_inputs(self) -> int:
        """Numbers of one example."""
        return prod(self.example_shape)

    @cached_property
    def layers(self) -> list[tuple[int, int]]:
        """Rows and columns of the matrix of each layer."""
        laws = find_laws(
            self.spec,
            self.num_inputs,
            self.num_classes,
            num_channels=self.example_shape[0],
        )
        return [(layer.fan_in, layer.num_out) for layer in laws.values()]

    @property
    def values(self) -> list[int]:
        """Numbers of an example: as it comes, then behind each layer."""
        chain = Chain(self.spec.network, self.example_shape)
        hidden = [prod(shape) for shape in chain.hidden_shapes]
        return [self.num_inputs, *hidden, self.num_classes]

    @property
    def item(self) -> int:
        """Bytes of a weight."""
        return int(getattr(torch, self.spec.run.dtype).itemsize)

    @property
    def has_own_orders(self) -> bool:
        """Whether each replica has its own order of the examples."""
        return self.spec.training.batch_order == "independent"

    @property
    def num_replicas(self) -> int:
        """Of the run."""
        return self.spec.run.replicas

    @property
    def num_weights(self) -> int:
        """Weights and biases of a replica."""
        return sum((i + 1) * o for i, o in self.layers)

    @property
    def weights(self) -> int:
        """Bytes of the weights and biases of all replicas, side by side."""
        return self.num_replicas * self.num_weights * self.item

    @property
    def largest(self) -> int:
        """Weights of the largest layer of a replica."""
        return max(i * o for i, o in self.layers)

    def gathered(self, rows: int) -> int:
        """Numbers of a batch as so many replicas see it."""
        batch = self.spec.training.batch_size * self.num_inputs
        return (rows if self.has_own_orders else 1) * batch


@dataclass(frozen=True)
class PathBytes:
    """What a path holds, and what it needs besides for a while."""

    weights: int  # the current ones, as it keeps them
    step: int  # working memory of a step, and what stays of it
    evaluation: int  # beyond that, while a data set is evaluated
