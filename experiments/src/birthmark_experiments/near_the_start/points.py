"""Points in the space of all weights: how far apart, moved, and trained from.

All of a stack: `hidden1.w` [R, I, O], ... Training is the engine's, which one may stop
between steps to put a network back into a ball.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from birthmark.network import name_parameters
from birthmark.seeds import stream
from birthmark.shapes import Array, Dataset, EpochMetrics
from birthmark.spec import RunSpec
from birthmark.training import Training

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Ball:
    """Where training is kept, over all weights and biases as one vector."""

    center: Parameters
    radius_R: Array  # L2
    every: int = 1  # steps after which a network is put back, at most an epoch


def draw_start(spec: RunSpec, dataset: Dataset) -> Parameters:
    """The initial parameters of all replicas."""
    initial = Training.from_spec(spec, dataset, path="fast").initial
    return copy_points(name_parameters(initial))


def train_from(
    spec: RunSpec,
    dataset: Dataset,
    start: Parameters,
    *,
    ball: Ball | None = None,
    path: str = "fast",
) -> Iterator[tuple[EpochMetrics, Parameters]]:
    """Train from a start with the engine: metrics and parameters, epoch by epoch."""
    training = Training.from_spec(spec, dataset, path=path)
    training.set_weights(start)
    steps = ball.every if ball else training.steps_per_epoch
    while training.epoch < spec.training.epochs:
        metrics = training.advance(steps)
        if ball:
            training.set_weights(project(name_parameters(training.weights), ball))
        if metrics:
            yield metrics, name_parameters(training.weights)


def find_end(
    spec: RunSpec, dataset: Dataset, start: Parameters, ball: Ball | None = None
) -> Parameters:
    """Where training from a start ends."""
    for _, parameters in train_from(spec, dataset, start, ball=ball):
        end = parameters
    return copy_points(end)


def copy_points(parameters: Parameters) -> Parameters:
    """Of one's own."""
    return {name: tensor.clone() for name, tensor in parameters.items()}


def project(parameters: Parameters, ball: Ball) -> Parameters:
    """What lies outside, on the surface at the nearest point; {} where nothing does."""
    away_R = distances(parameters, ball.center)
    factor_R = np.minimum(1, ball.radius_R / np.maximum(away_R, 1e-30))
    if (factor_R == 1).all():
        return {}
    factor = torch.from_numpy(factor_R).to(next(iter(parameters.values())))
    found = {}
    for name, tensor in parameters.items():
        here = factor.view(-1, *[1] * (tensor.dim() - 1))
        found[name] = ball.center[name] + (tensor - ball.center[name]) * here
    return found


def distances(a: Parameters, b: Parameters) -> Array:
    """L2 distance over all weights and biases, [R]."""
    squares = [(a[n] - b[n]).double().square().flatten(1).sum(dim=1) for n in b]
    values: Array = torch.stack(squares).sum(dim=0).sqrt().numpy()
    return values


def mix_points(a: Parameters, b: Parameters, alpha: float) -> Parameters:
    """On the line through both: a at 0, b at 1."""
    return {name: a[name] + alpha * (b[name] - a[name]) for name in a}


def put_back(
    now: Parameters, start: Parameters, layers: list[str]
) -> dict[str, Parameters]:
    """With no, one, and each layer as it was at the start, by what was put back."""
    found = {"none": now}
    for layer in layers:
        own = {n: start[n] for n in start if n.startswith(f"{layer}.")}
        found[layer] = now | own
    return found | {"all": start}


def move(start: Parameters, end: Parameters, length: float, seed: int) -> Parameters:
    """A random step, in each tensor `length` times as long as the way of training."""
    moved = {}
    for name, tensor in start.items():
        rows = []
        for r, row in enumerate(tensor):
            draws = stream(seed, r, "move", name).standard_normal(tuple(row.shape))
            step = torch.from_numpy(draws).to(row)
            way = torch.linalg.vector_norm(end[name][r] - row)
            rows.append(row + step * (length * way / torch.linalg.vector_norm(step)))
        moved[name] = torch.stack(rows)
    return moved


def shrink(moved: Parameters, start: Parameters) -> Parameters:
    """Each tensor as long as that of the start again, in the direction it has."""
    short = {}
    for name, tensor in moved.items():
        pair = [one.flatten(1) for one in (start[name], tensor)]
        before_R, now_R = (torch.linalg.vector_norm(one, dim=1) for one in pair)
        factor_R = before_R / now_R.clamp(min=1e-30)
        short[name] = tensor * factor_R.view(-1, *[1] * (tensor.dim() - 1))
    return short
