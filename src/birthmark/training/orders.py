"""In which order an epoch visits the examples, drawn in threads and one epoch ahead."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from birthmark.seeds import batch_order, buffered_order, order_draws
from birthmark.shapes import Array
from birthmark.spec import RunSpec

_MOST_THREADS = 8  # that draw; NumPy holds no lock while it draws and sorts


class Order(Protocol):
    """In which order an epoch visits the examples.

    It must depend on the number of the epoch alone: it is asked again when a training
    is resumed. It may leave examples out, and visit some more than once.
    """

    def __len__(self) -> int:
        """How many examples an epoch visits, N."""

    def __call__(self, epoch: int) -> Tensor:
        """Numbers of examples on the device: [R, N] int64, or [1, N] for all."""


class DrawnOrder:
    """The orders of a run, each a function of seed, replica and epoch alone.

    While one epoch is trained, that of the next is drawn.
    """

    def __init__(
        self, spec: RunSpec, replicas: Sequence[int], num_examples: int, device: str
    ) -> None:
        """Draw nothing yet.

        Args:
            spec: Seed, epochs, and how examples are shuffled.
            replicas: Numbers in the run; not looked at where all share one order.
            num_examples: N.
            device: Where the order is wanted.
        """
        shared = spec.training.batch_order == "shared"
        self._replicas = [0] if shared else list(replicas)
        seed, of_orders = spec.run.seed, spec.run.order_seed
        self._seed = seed if of_orders is None else of_orders
        self._num_examples = num_examples
        self._buffer, self._epochs = spec.training.shuffle_buffer, spec.training.epochs
        self._device = device
        # a GPU sorts quicker, and by the same rule
        self._sorts_there = device != "cpu" and self._buffer is None
        self._streams: dict[int, Array] = {}  # of epoch 0, by replica, for a buffer
        self._ahead: dict[int, list[Future[Array]]] = {}  # by epoch
        threads = min(len(self._replicas), torch.get_num_threads(), _MOST_THREADS)
        if device != "cpu":
            threads = min(len(self._replicas), _MOST_THREADS)
        self._pool = ThreadPoolExecutor(threads, "birthmark-order")

    def __len__(self) -> int:
        """See `Order`."""
        return self._num_examples

    def __call__(self, epoch: int) -> Tensor:
        """See `Order`."""
        drawing = self._ahead.pop(epoch, None) or self._start(epoch)
        self._ahead = {}
        if epoch + 1 < self._epochs:
            self._ahead[epoch + 1] = self._start(epoch + 1)
        drawn_RN = torch.from_numpy(np.stack([one.result() for one in drawing]))
        drawn_RN = drawn_RN.to(self._device)
        return drawn_RN.argsort(dim=1, stable=True) if self._sorts_there else drawn_RN

    def _start(self, epoch: int) -> list[Future[Array]]:
        return [self._pool.submit(self._draw, r, epoch) for r in self._replicas]

    def _draw(self, replica: int, epoch: int) -> Array:
        seed, count = self._seed, self._num_examples
        if self._sorts_there:
            return order_draws(seed, replica, epoch, count)
        if self._buffer is None:
            return batch_order(seed, replica, epoch, count)
        if replica not in self._streams:
            self._streams[replica] = batch_order(seed, replica, 0, count)
        coming = self._streams[replica]
        return buffered_order(seed, replica, epoch, count, self._buffer, coming=coming)
