"""Learning-rate schedules: the share of `lr` at a step, counted from 0."""

import math
from collections.abc import Callable

from birthmark.spec import ScheduleSpec, TrainingSpec


def _constant(spec: ScheduleSpec, step: int, per_epoch: int, total: int) -> float:
    return 1.0


def _step(spec: ScheduleSpec, step: int, per_epoch: int, total: int) -> float:
    return float(spec.factor ** (step // ((spec.epochs or 1) * per_epoch)))


def _cosine(spec: ScheduleSpec, step: int, per_epoch: int, total: int) -> float:
    # Loshchilov & Hutter 1608.03983, eq. 5, without restarts
    half_wave = (1 + math.cos(math.pi * step / total)) / 2
    return spec.floor + (1 - spec.floor) * half_wave


def _warmup(spec: ScheduleSpec, step: int, per_epoch: int, total: int) -> float:
    # Goyal et al. 1706.02677, §2.2: linear from one step's share up to lr
    return min(1.0, (step + 1) / ((spec.epochs or 1) * per_epoch))


_SCHEDULES: dict[str, Callable[[ScheduleSpec, int, int, int], float]] = {
    "constant": _constant,
    "step": _step,
    "cosine": _cosine,
    "warmup": _warmup,
}


def learning_rate(spec: TrainingSpec, step: int, steps_per_epoch: int) -> float:
    """The learning rate of the step with this number, from 0."""
    total = spec.epochs * steps_per_epoch
    schedule = _SCHEDULES[spec.schedule.name]
    return spec.lr * schedule(spec.schedule, step, steps_per_epoch, total)
