"""How quickly runs go on: for what is shown of them, and for when to look next."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from birthmark.shapes import EpochMetrics
from birthmark.spec import RunSpec
from birthmark.training import Training


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    spec: RunSpec
    epoch: int
    share: float  # of all steps, 0 ... 1
    metrics: EpochMetrics | None  # of the last finished epoch, None before the first
    examples_per_second: float  # of all replicas together, since this start
    seconds_left: float


def sum_up(runs: Sequence[Progress]) -> Progress:
    """Of runs that train at the same time: the first one, with the steps of all."""
    return replace(
        runs[0],
        share=sum(one.share for one in runs) / len(runs),
        examples_per_second=sum(
            one.examples_per_second for one in runs if one.seconds_left
        )
        or runs[0].examples_per_second,
        seconds_left=max(one.seconds_left for one in runs),
    )


class Throughput:
    """How quickly the steps follow each other, for progress and for the next look."""

    def __init__(self, training: Training, num_replicas: int) -> None:
        self._training, self._num_replicas = training, num_replicas
        self._first_step = training.step
        self._started = time.monotonic()

    def steps(self, seconds: float) -> int:
        """How many steps fit into this time, at least one."""
        done = self._training.step - self._first_step
        if not done:
            return 1
        return max(1, round(seconds * done / (time.monotonic() - self._started)))

    def progress(self, last: EpochMetrics | None) -> Progress:
        """The state of things."""
        training = self._training
        total = training.spec.training.epochs * training.steps_per_epoch
        done = training.step - self._first_step
        per_second = done / max(time.monotonic() - self._started, 1e-9)
        examples = training.num_examples / training.steps_per_epoch
        return Progress(
            spec=training.spec,
            epoch=training.epoch,
            share=training.step / total,
            metrics=last,
            examples_per_second=per_second * examples * self._num_replicas,
            seconds_left=(total - training.step) / max(per_second, 1e-9),
        )
