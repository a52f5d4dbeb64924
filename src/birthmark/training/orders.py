"""In which order an epoch visits the examples, drawn in threads and one epoch ahead."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from birthmark.data import load_dataset
from birthmark.errors import SpecError
from birthmark.seeds import batch_order as order_at
from birthmark.seeds import buffered_order, order_draws
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

    def draw(self, epoch: int) -> Array:
        """That of the first replica alone, [N], with nothing drawn ahead."""
        return self._draw(self._replicas[0], epoch)

    def _start(self, epoch: int) -> list[Future[Array]]:
        return [self._pool.submit(self._draw, r, epoch) for r in self._replicas]

    def _draw(self, replica: int, epoch: int) -> Array:
        seed, count = self._seed, self._num_examples
        if self._sorts_there:
            return order_draws(seed, replica, epoch, count)
        if self._buffer is None:
            return order_at(seed, replica, epoch, count)
        if replica not in self._streams:
            self._streams[replica] = order_at(seed, replica, 0, count)
        coming = self._streams[replica]
        return buffered_order(seed, replica, epoch, count, self._buffer, coming=coming)


def batch_order(
    spec: RunSpec, replica: int, epoch: int, *, num_examples: int | None = None
) -> Array:
    """In which order a replica of a run visits the training examples, [N] int64.

    Batch b of an epoch are the examples `order[b * batch_size : (b + 1) * batch_size]`,
    the last one smaller. With this, and `initial_configuration`, a run can be done
    again in any framework.

    Args:
        spec: Of the run: its seeds, its order of batches and its buffer count.
        replica: Number of the replica in the run, from 0.
        epoch: Number of the epoch, from 0: the first one that is trained.
        num_examples: N; that of the data unless given, which then are loaded.

    Raises:
        SpecError: There is no such replica or epoch.
    """
    if not 0 <= replica < spec.run.replicas:
        raise SpecError(
            f"replica {replica}: the run has {spec.run.replicas}, numbered from 0"
        )
    if not 0 <= epoch < spec.training.epochs:
        raise SpecError(
            f"epoch {epoch}: the run has {spec.training.epochs}, numbered from 0"
        )
    count = (
        len(load_dataset(spec.data).y_train) if num_examples is None else num_examples
    )
    order = DrawnOrder(spec, [replica], count, "cpu")
    return np.asarray(order.draw(epoch))
