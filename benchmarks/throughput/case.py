"""What everybody trains: one network on one set of random pixels, and what it costs.

Imported by every trainer, so it needs NumPy alone. Axis letters as in the library:
R replica, N example, B example of a batch, I fan-in, O fan-out, K class.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 128
LR = 0.1
EPS = 1e-7  # the clipped loss: probabilities of the true class within EPS ... 1 - EPS
MAX_REPLICAS = 10  # of the largest stack of any peer
SHAPES = {"hasyv2": (1024, 369), "mnist": (784, 10)}  # pixels, classes

Array = np.ndarray[Any, np.dtype[Any]]
Layers = list[tuple[Array, Array]]  # (w_RIO, b_RO) of each layer, in order


@dataclass(frozen=True)
class Case:
    """A network with two hidden layers of one width, and the length of an epoch."""

    shape: str  # a key of SHAPES
    width: int
    steps: int  # timed at a stretch; an epoch has one more
    replicas: int = 0  # of our stack; 0 means the usual number

    @property
    def name(self) -> str:
        """As the tables call it."""
        return f"{self.shape} {self.width}"

    @property
    def num_examples(self) -> int:
        """Examples of an epoch, N."""
        return BATCH * (self.steps + 1)

    @property
    def sizes(self) -> list[int]:
        """Units of each layer, from the pixels to the classes."""
        num_inputs, num_classes = SHAPES[self.shape]
        return [num_inputs, self.width, self.width, num_classes]

    @property
    def num_weights(self) -> int:
        """Weights of one replica without biases, P."""
        return sum(i * o for i, o in zip(self.sizes, self.sizes[1:], strict=False))

    @property
    def operations(self) -> int:
        """Floating-point operations of the products of one step of one replica.

        Forward, weight gradients, and the gradient by the inputs of each layer but the
        first: 4 B P + 2 B (P - P1), with P1 the weights of the first layer.
        """
        first = self.sizes[0] * self.sizes[1]
        return 4 * BATCH * self.num_weights + 2 * BATCH * (self.num_weights - first)

    @property
    def bytes_moved(self) -> int:
        """Least traffic of one step of one replica whose weights come from memory.

        The forward pass reads the weights, the update reads and writes them, four bytes
        each; a batch of pixels is read, one byte each.
        """
        return 3 * 4 * self.num_weights + BATCH * self.sizes[0]

    def draw_pixels(self) -> tuple[Array, Array]:
        """Random pixels [N, I] uint8 and classes [N] int64."""
        draws = np.random.default_rng(0)
        x_NI = draws.integers(0, 256, (self.num_examples, self.sizes[0]), np.uint8)
        return x_NI, draws.integers(0, self.sizes[-1], self.num_examples)


@dataclass(frozen=True)
class Start:
    """The replicas' initial weights, and their batch orders of a few epochs."""

    layers: Layers
    orders_ERN: Array  # epoch, replica, example; no epochs where nothing is checked

    def save(self, path: Path) -> None:
        """Write what `load_start` reads."""
        arrays = {f"w{i}": w for i, (w, _) in enumerate(self.layers)}
        arrays |= {f"b{i}": b for i, (_, b) in enumerate(self.layers)}
        np.savez(path, orders=self.orders_ERN, **arrays)

    def part(self, first: int, count: int) -> "Start":
        """So many replicas from this one on."""
        rows = slice(first, first + count)
        layers = [(w[rows], b[rows]) for w, b in self.layers]
        return Start(layers, self.orders_ERN[:, rows])


def load_start(path: str) -> Start:
    """Read what `Start.save` wrote."""
    with np.load(path) as arrays:
        count = sum(name.startswith("w") for name in arrays)
        layers = [(arrays[f"w{i}"], arrays[f"b{i}"]) for i in range(count)]
        return Start(layers, arrays["orders"])
