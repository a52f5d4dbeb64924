"""Trainings that differ from the protocol of the reproduction in one detail.

Which details are changed, at which widths and for how long.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from birthmark.seeds import batch_order, stream
from birthmark.shapes import Array, Dataset, EpochMetrics, Weights
from birthmark.spec import RunSpec
from birthmark.sweeps import reproduction
from birthmark.training import Order, Training
from birthmark_experiments.protocol_details.facts import FROM_LOGITS

_CHANNELS = 3  # of the files of HASYv2, all alike


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
    def initial(self) -> Weights:
        """The configuration that was drawn."""
        return self.training.initial

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


@dataclass(frozen=True)
class Condition:
    """A detail, and how many networks with it are looked at for how long."""

    kind: type[Detail]
    width: int
    epochs: int
    buffer: int | None = None
    replicas: int = 1
    loss: str = "clipped_cross_entropy"


def _list_arms(
    widths: tuple[int, int, int, int], epochs: tuple[int, int, int, int, int]
) -> dict[str, Condition]:
    narrow, fork, between, wide = widths
    few, some, more, many, most = epochs
    buffered = [
        Condition(Detail, fork, many, 2_000, replicas=3),
        Condition(Detail, narrow, most, 2_000, replicas=3),
        Condition(Detail, between, more, 2_000, replicas=3),
        Condition(Detail, wide, more, 2_000, replicas=3),
        Condition(Detail, fork, most, 1_000),
        Condition(Detail, narrow, most, 1_000),
        Condition(Detail, wide, more, 1_000),
        Condition(Detail, fork, more, 4_000, replicas=3),
        Condition(Detail, wide, more, 4_000),
        Condition(Detail, fork, some, 10_000),
    ]
    return {
        **{f"buffer of {arm.buffer:,}, width {arm.width}": arm for arm in buffered},
        FROM_LOGITS: Condition(Detail, fork, most, 1_000, loss="cross_entropy"),
        "three channels": Condition(ThreeChannels, narrow, few),
        "no biases": Condition(NoBiases, fork, some),
        "same batches every epoch": Condition(SameBatches, fork, some),
        "same batches in a new order": Condition(NewOrderOfBatches, fork, some),
        "last batch dropped": Condition(LastBatchDropped, fork, some),
        "drawn with replacement": Condition(WithReplacement, fork, some),
    }


@dataclass(frozen=True)
class Protocol:
    """What one scale trains, and what it is held against."""

    fork: int  # the width at which all details are tried
    reproduced: tuple[int, ...]  # widths that are shown as the reproduction has them
    like: RunSpec  # the run that those of other widths follow
    runs: Mapping[int, RunSpec]  # of the reproduction, by width
    arms: Mapping[str, Condition]


def _reproduced_runs() -> dict[int, RunSpec]:
    return {
        one.network.widths[0]: one
        for one in reproduction("laptop")
        if one.data.name == "hasyv2" and one.training.loss == "clipped_cross_entropy"
    }


PROTOCOLS = {
    "full": Protocol(
        fork=250,
        reproduced=(150, 250, 300),
        like=_reproduced_runs()[250],
        runs=_reproduced_runs(),
        arms=_list_arms((150, 250, 275, 300), (30, 170, 220, 450, 600)),
    ),
    "quick": Protocol(
        fork=16,
        reproduced=(12, 16, 20),
        like=RunSpec(
            data={"name": "digits", "examples_per_class": 30},
            network={"widths": [16, 16]},
            mark={"text": "a"},
            training={"epochs": 3},
            run={"replicas": 2, "device": "cpu"},
            record={"distributions": ()},
        ),
        runs={},
        arms=_list_arms((12, 16, 18, 20), (2, 3, 3, 3, 3)),
    ),
}


def find_spec(protocol: Protocol, width: int) -> RunSpec:
    """The run of the reproduction, or where it has none one like that of the fork."""
    like = protocol.like.with_settings({"network.widths": [width, width]})
    return protocol.runs.get(width, like)


def spec_of(arm: Condition, protocol: Protocol) -> RunSpec:
    """The run of an arm, as far as a spec can say it."""
    return find_spec(protocol, arm.width).with_settings(
        {
            "training.epochs": arm.epochs,
            "training.loss": arm.loss,
            "training.shuffle_buffer": arm.buffer,
            "run.replicas": arm.replicas,
            "record.epochs": "log",
            "record.distributions": [],
        }
    )


def describe(protocol: Protocol) -> str:
    """The protocol in words, for captions and the page."""
    spec = find_spec(protocol, protocol.fork)
    training = spec.training
    return (
        f"{spec.data.name}, pixels as stored in [0, 1]; dense relu networks of two "
        "equal hidden layers, Glorot uniform, marked; softmax and cross-entropy "
        f"clipped at {training.eps:g}; plain SGD, lr {training.lr:g}, batch "
        f"{training.batch_size}; products from width {spec.network.widths[0]} on in "
        f"{spec.run.precision}; seed {spec.run.seed}. Replica 0 of each arm has the "
        "start of replica 0 of the reproduction, and its batches where these are not "
        "the detail that is changed."
    )
