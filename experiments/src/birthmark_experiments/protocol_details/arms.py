"""Trainings that differ from the protocol of the reproduction in one detail."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from birthmark.seeds import batch_order, stream
from birthmark.shapes import Dataset
from birthmark.training import Training

_CHANNELS = 3  # of the files of HASYv2, all alike


class Detail(Training):
    """The protocol of the reproduction, with nothing changed yet."""

    @staticmethod
    def prepare(dataset: Dataset) -> Dataset:
        """The data as this protocol has them."""
        return dataset

    def begin(self) -> None:
        """What is changed before the first step."""


class WithReplacement(Detail):
    """Each example of a batch is drawn from all, so that an epoch misses some."""

    def draw_order(self) -> Tensor:
        """Draws with replacement, [R, N]."""
        count = self.num_examples
        rows = [
            stream(self.spec.run.seed, r, "replacement", f"epoch{self.epoch}")
            for r in self.replicas
        ]
        return torch.from_numpy(
            np.stack([row.integers(count, size=count) for row in rows])
        )


class SameBatches(Detail):
    """The order of the first epoch in all."""

    def draw_order(self) -> Tensor:
        """The order of epoch 0, [R, N]."""
        seed, count = self.spec.run.seed, self.num_examples
        orders = [batch_order(seed, r, 0, count) for r in self.replicas]
        return torch.from_numpy(np.stack(orders))


class NewOrderOfBatches(Detail):
    """Batches made once; an epoch has them in an order of its own.

    The last, smaller one stays the last.
    """

    def draw_order(self) -> Tensor:
        """The batches of epoch 0, shuffled whole, [R, N]."""
        seed, count = self.spec.run.seed, self.num_examples
        size = self.spec.training.batch_size
        rows = []
        for r in self.replicas:
            order = batch_order(seed, r, 0, count)
            whole = order[: count // size * size].reshape(-1, size)
            turn = stream(seed, r, "batches", f"epoch{self.epoch}")
            mixed = turn.permutation(whole).ravel()
            rows.append(np.concatenate([mixed, order[mixed.size :]]))
        return torch.from_numpy(np.stack(rows))


class LastBatchDropped(Detail):
    """The smaller batch at the end of an epoch is left out."""

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches an epoch."""
        return self.num_examples // self.spec.training.batch_size


class NoBiases(Detail):
    """Weights alone: what a step writes into the biases is taken back."""

    def run_epoch(self) -> Any:
        """Go on to the end of the current epoch."""
        metrics = None
        while metrics is None:
            metrics = self.advance(1)
            for _, layer in self.weights.items():
                layer.b.zero_()
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
        w.mul_(math.sqrt((fan_in + fan_out) / (_CHANNELS * fan_in + fan_out)))
