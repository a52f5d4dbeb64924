"""Trainings that differ from the protocol of the reproduction in one detail."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from birthmark.seeds import batch_order, buffered_order, stream
from birthmark.shapes import Array, Dataset, EpochMetrics, Weights
from birthmark.spec import RunSpec
from birthmark.training import Order, Training

_CHANNELS = 3  # of the files of HASYv2, all alike
_NEAR = 2_000  # examples that count as near each other: the buffer that fits


def find_near(count: int) -> int:
    """How many examples are near each other, an eighth of all at the most."""
    return min(_NEAR, count // 8)


class Detail:
    """The protocol of the reproduction, with nothing changed yet."""

    def __init__(self, spec: RunSpec, dataset: Dataset) -> None:
        order = self.find_order(spec, len(dataset.y_train))
        self.spec = spec
        self.training = Training.from_spec(spec, dataset, order=order)

    @staticmethod
    def prepare(dataset: Dataset) -> Dataset:
        """The data as this protocol has them."""
        return dataset

    @staticmethod
    def find_order(spec: RunSpec, count: int) -> Order | None:
        """In which order so many examples are visited; None leaves that to the spec."""
        return None

    def begin(self) -> None:
        """What is changed before the first step."""

    def run_epoch(self) -> EpochMetrics:
        """Go on to the end of the current epoch."""
        return self.training.run_epoch()

    @property
    def weights(self) -> Weights:
        """The current configuration."""
        return self.training.weights


@dataclass(frozen=True)
class _Rows:
    """Orders of the examples, replica by replica."""

    spec: RunSpec
    count: int  # examples of the data

    def __len__(self) -> int:
        return self.count

    def __call__(self, epoch: int) -> Tensor:
        rows = [self.draw(r, epoch) for r in range(self.spec.run.replicas)]
        return torch.from_numpy(np.stack(rows))

    def draw(self, replica: int, epoch: int) -> Array:
        """That of one epoch, [N]; here the one of the reproduction."""
        return batch_order(self.spec.run.seed, replica, epoch, self.count)


class _Draws(_Rows):
    def draw(self, replica: int, epoch: int) -> Array:
        draws = stream(self.spec.run.seed, replica, "replacement", f"epoch{epoch}")
        found: Array = draws.integers(self.count, size=self.count)
        return found


class WithReplacement(Detail):
    """Each example of a batch is drawn from all, so that an epoch misses some."""

    find_order = staticmethod(_Draws)


class _First(_Rows):
    def draw(self, replica: int, epoch: int) -> Array:
        return super().draw(replica, 0)


class SameBatches(Detail):
    """The order of the first epoch in all."""

    find_order = staticmethod(_First)


class _Batches(_Rows):
    def draw(self, replica: int, epoch: int) -> Array:
        order, size = super().draw(replica, 0), self.spec.training.batch_size
        whole = order[: self.count // size * size].reshape(-1, size)
        turn = stream(self.spec.run.seed, replica, "batches", f"epoch{epoch}")
        shuffled = turn.permutation(whole).ravel()
        return np.concatenate([shuffled, order[shuffled.size :]])


class NewOrderOfBatches(Detail):
    """Batches made once; an epoch has them in an order of its own.

    The last, smaller one stays the last.
    """

    find_order = staticmethod(_Batches)


class _Blocks(_Rows):
    def draw(self, replica: int, epoch: int) -> Array:
        draw = stream(self.spec.run.seed, replica, "within", f"epoch{epoch}")
        blocks = self.place(replica, epoch)
        return np.concatenate([draw.permutation(block) for block in blocks])

    def place(self, replica: int, epoch: int) -> list[Array]:
        """The blocks in the order in which this epoch has them."""
        size = find_near(self.count)
        order = super().draw(replica, 0)
        return np.split(order, range(size, self.count, size))


class BlocksInPlace(Detail):
    """Neighbours and their place are kept: blocks shuffled within, in one order."""

    find_order = staticmethod(_Blocks)


class _MovedBlocks(_Blocks):
    def place(self, replica: int, epoch: int) -> list[Array]:
        blocks = super().place(replica, epoch)
        turn = stream(self.spec.run.seed, replica, "blocks", f"epoch{epoch}")
        return [blocks[i] for i in turn.permutation(len(blocks))]


class BlocksMoved(Detail):
    """Neighbours are kept and their place is new: blocks in a new order every epoch."""

    find_order = staticmethod(_MovedBlocks)


@dataclass(frozen=True)
class _Drift(_Rows):
    last: dict[int, tuple[int, Array]] = field(default_factory=dict, compare=False)

    def draw(self, replica: int, epoch: int) -> Array:
        seed, size = self.spec.run.seed, find_near(self.count)
        if replica not in self.last or self.last[replica][0] > epoch:
            self.last[replica] = 0, super().draw(replica, 0)
        done, order = self.last[replica]
        for e in range(done + 1, epoch + 1):
            order = buffered_order(seed, replica, e, self.count, size, coming=order)
        self.last[replica] = epoch, order
        return order


class Drift(Detail):
    """The place is nearly kept and neighbours change: each epoch shuffles the last.

    The stream is the order of the epoch before, in a buffer: an example returns after
    one epoch, nearly, and its neighbours of today have gone apart in the long run.
    """

    find_order = staticmethod(_Drift)


class _WholeBatches(_Rows):
    def __len__(self) -> int:
        size = self.spec.training.batch_size
        return self.count // size * size

    def draw(self, replica: int, epoch: int) -> Array:
        return super().draw(replica, epoch)[: len(self)]


class LastBatchDropped(Detail):
    """The smaller batch at the end of an epoch is left out."""

    find_order = staticmethod(_WholeBatches)


class NoBiases(Detail):
    """Weights alone: what a step writes into the biases is taken back."""

    def run_epoch(self) -> EpochMetrics:
        """Go on to the end of the current epoch."""
        none = {f"{n}.b": torch.zeros_like(x.b) for n, x in self.weights.items()}
        metrics = None
        while metrics is None:
            metrics = self.training.advance(1)
            self.training.set_weights(none)
        return metrics


class ThreeChannels(Detail):
    """Images as their files have them: red, green and blue, all alike.

    Three equal inputs with weights of their own move as one input does whose pixels
    are sqrt(3) times as large, with a start that is smaller by the larger fan-in; so
    this is the same network in law, without three times the work.
    """

    @staticmethod
    def prepare(dataset: Dataset) -> Dataset:
        """Pixels larger by sqrt(3)."""
        return replace(dataset, std=dataset.std / math.sqrt(_CHANNELS))

    def begin(self) -> None:
        """Glorot's bound for three times the inputs."""
        w = self.weights["hidden1"].w
        _, fan_in, fan_out = w.shape
        factor = math.sqrt((fan_in + fan_out) / (_CHANNELS * fan_in + fan_out))
        self.training.set_weights({"hidden1.w": w * factor})
