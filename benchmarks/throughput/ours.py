"""The engine, through the door that everybody uses."""

import numpy as np
import torch

from birthmark.network import draw_weights
from birthmark.seeds import batch_order
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.training import Training
from throughput.case import (
    BATCH,
    EPS,
    LR,
    MAX_REPLICAS,
    SHAPES,
    Array,
    Case,
    Layers,
    Start,
)
from throughput.trainer import Metrics


def write_spec(case: Case, replicas: int) -> RunSpec:
    """A case in the words of the library."""
    return RunSpec(
        data={"name": case.shape},
        network={"widths": [case.width, case.width], "activation": "relu"},
        training={
            "loss": "clipped_cross_entropy",
            "eps": EPS,
            "lr": LR,
            "batch_size": BATCH,
        },
        run={"replicas": replicas, "seed": 0, "device": "cpu"},
    )


def draw_start(case: Case, num_epochs: int) -> Start:
    """The start and the orders that our replicas draw themselves, for all others."""
    num_inputs, num_classes = SHAPES[case.shape]
    replicas = range(MAX_REPLICAS)
    spec = write_spec(case, MAX_REPLICAS)
    weights = draw_weights(spec, num_inputs, num_classes, replicas=replicas)
    orders = [
        [batch_order(0, replica, epoch, case.num_examples) for replica in replicas]
        for epoch in range(num_epochs)
    ]
    shape = (num_epochs, MAX_REPLICAS, case.num_examples)
    return Start(
        [(layer.w.numpy(), layer.b.numpy()) for _, layer in weights.items()],
        np.array(orders, dtype=np.int64).reshape(shape),
    )


class Birthmark:
    """It draws the start by itself: the one that all others are given."""

    def __init__(
        self, case: Case, x_NI: Array, y_N: Array, layers: Layers, threads: int
    ) -> None:
        torch.set_num_threads(threads)
        dataset = Dataset(
            name=case.shape,
            x_train=x_NI,
            y_train=y_N,
            x_test=x_NI[:BATCH],
            y_test=y_N[:BATCH],
            num_classes=case.sizes[-1],
            image_shape=(case.sizes[0],),
            full_scale=255,
        )
        self.training = Training.from_spec(write_spec(case, case.replicas), dataset)

    def prepare(self) -> None:
        """End the epoch, with its evaluation: no step, and so not timed."""
        if self.training.batch:
            self.training.run_epoch()

    def train(self, num_steps: int, order_RN: Array | None = None) -> Metrics | None:
        """See `Trainer`; the order is the one it draws anyway."""
        metrics = self.training.advance(num_steps)
        return metrics and (metrics.train_loss, metrics.train_accuracy)
