"""Steps made one by one in torch: what the fast and the general path have in common."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from birthmark.spec import RunSpec
from birthmark.training.accumulators import Accumulators
from birthmark.training.examples import Examples
from birthmark.training.losses import find_loss
from birthmark.training.sizes import PathBytes, StackSizes
from birthmark.training.step_ranges import StepRange

EVALUATION_BATCH = 1024  # examples evaluated at once, by all replicas


@dataclass(frozen=True)
class BatchResult:
    """What a stack made of a batch, before the step."""

    loss_RB: Tensor
    p_true_RB: Tensor  # probability of the true class
    predicted_RB: Tensor  # class with the largest output


class StepwisePath(ABC):
    """First looks at a batch (`differentiate`), then moves the weights (`update`).

    Attributes:
        step: Number in the run of the step that is being made.
    """

    name: str
    state: dict[str, Tensor]

    def __init__(self, spec: RunSpec, parameters: dict[str, Tensor]) -> None:
        self.parameters, self.step = parameters, 0
        first = next(iter(parameters.values()))
        self._device, self._num_replicas = str(first.device), len(first)
        self.accumulators = Accumulators.zeros(self._num_replicas, self._device)
        self._loss = find_loss(spec.training.loss)
        self._eps, self._batch_size = spec.training.eps, spec.training.batch_size

    @classmethod
    @abstractmethod
    def count_bytes(cls, sizes: StackSizes, rows: int, count: int) -> PathBytes:
        """What it would need for steps and evaluations.

        Args:
            sizes: Of the stack.
            rows: Replicas that go through a step at once.
            count: Examples that are evaluated at once.
        """

    def part(self, rows: slice) -> Self:
        """The same path for some replicas, whose weights and sums stay where they are.

        Two parts must not be at work at the same time: they may share buffers.
        """
        part = copy.copy(self)
        part.parameters = {name: value[rows] for name, value in self.parameters.items()}
        part.accumulators = self.accumulators.part(rows)
        part._num_replicas = len(part.accumulators.loss_R)
        return part

    @abstractmethod
    def differentiate(self, x: Tensor, y_RB: Tensor) -> BatchResult:
        """Losses and gradients of a batch: x is [R, B, I], or [B, I] for all."""

    @abstractmethod
    def update(self, lr: float) -> None:
        """Make the step for the batch last seen."""

    @abstractmethod
    def forward(self, x_BI: Tensor) -> Tensor:
        """Outputs [R, B, K] of all replicas for the same inputs."""

    def make_steps(self, examples: Examples, step_range: StepRange) -> None:
        """See `Path`."""
        size = self._batch_size
        frozen = self._frozen_weights()
        for number, lr in enumerate(step_range.lrs):
            if len(frozen.rows) == self._num_replicas:
                return
            self.step = step_range.first_step + number
            start = (step_range.first_batch + number) * size
            index = step_range.order_RN[:, start : start + size]
            shared = len(index) == 1 < self._num_replicas
            x, y = examples.gather(index[0] if shared else index)
            y_RB = y.expand(self._num_replicas, -1)
            result = self.differentiate(x, y_RB)
            finite_R = torch.isfinite(result.loss_RB).all(dim=1)
            if not finite_R.all():
                unseen_R = self.accumulators.nonfinite_step_R < 0
                self.accumulators.nonfinite_step_R[unseen_R & ~finite_R] = self.step
                frozen = self._frozen_weights()
            self._count(result, y_RB)
            self.update(lr)
            frozen.restore(self.parameters)

    def evaluate(self, examples: Examples) -> Tensor:
        """See `Path`."""
        return evaluate_stack(
            self.forward,
            examples,
            lambda z_RBK, y_RB: self._loss.value(z_RBK, y_RB, self._eps),
            self._num_replicas,
        )

    def _count(self, result: BatchResult, y_RB: Tensor) -> None:
        accumulators, p_true_RB = self.accumulators, result.p_true_RB
        going_R1 = (accumulators.nonfinite_step_R < 0).unsqueeze(1)
        loss_RB = result.loss_RB.where(going_R1, 0)
        accumulators.loss_R += loss_RB.sum(dim=1, dtype=torch.float64)
        for sums_R, counted_RB in (
            (accumulators.correct_R, result.predicted_RB == y_RB),
            (accumulators.below_eps_R, p_true_RB < self._eps),
            (accumulators.saturated_R, p_true_RB > 1 - self._eps),
        ):
            sums_R += (counted_RB & going_R1).sum(dim=1)

    def _frozen_weights(self) -> "_FrozenWeights":
        rows = torch.nonzero(self.accumulators.nonfinite_step_R >= 0).flatten()
        return _FrozenWeights(
            rows, {name: value[rows] for name, value in self.parameters.items()}
        )


@dataclass(frozen=True)
class _FrozenWeights:
    """The weights of the frozen replicas, to be put back after each step."""

    rows: Tensor
    kept: dict[str, Tensor]

    def restore(self, parameters: dict[str, Tensor]) -> None:
        if len(self.rows):
            for name, value in self.kept.items():
                parameters[name][self.rows] = value


def evaluate_stack(
    forward: Callable[[Tensor], Tensor],
    examples: Examples,
    loss: Callable[[Tensor, Tensor], Tensor],
    num_replicas: int,
) -> Tensor:
    """Mean losses and accuracies over all examples, [2, R], on the device.

    Args:
        forward: Outputs [R, B, K] of all replicas for inputs [B, I].
        examples: What to evaluate.
        loss: Loss of each example, [R, B], from outputs and classes [R, B].
        num_replicas: R.
    """
    device = examples.classes_N.device
    sums_2R = torch.zeros(2, num_replicas, dtype=torch.float64, device=device)
    for index in examples.slices(EVALUATION_BATCH):
        x_BI, y_B = examples.gather(index)
        z_RBK = forward(x_BI)
        y_RB = y_B.expand(num_replicas, -1)
        sums_2R[0] += loss(z_RBK, y_RB).sum(dim=1, dtype=torch.float64)
        sums_2R[1] += (z_RBK.argmax(dim=-1) == y_RB).sum(dim=1)
    return sums_2R / len(examples)
