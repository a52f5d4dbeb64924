"""Models that cannot be stacked, trained one by one in plain torch, in step.

Buffers (running statistics) stay with their model; dropout draws from a stream of its
own for each (seed, replica, step). Batches, their order, learning rates and bookkeeping
are those of a stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from birthmark.seeds import stream
from birthmark.spec import RunSpec
from birthmark.training import Accumulators, StepRange, find_loss

_EVALUATION_BATCH = 1024


class OneByOnePath:
    """A `Path` of `training` whose replicas are separate modules and optimizers.

    The parameters of the modules become rows of `parameters`.
    """

    name = "one by one"

    def __init__(
        self, spec: RunSpec, modules: Sequence[nn.Module], shape: tuple[int, ...]
    ) -> None:
        """Take over the modules.

        Args:
            spec: Loss, optimizer and batches.
            modules: The replicas.
            shape: Of one example, as the modules take it.
        """
        self._spec, self._modules, self._shape = spec, list(modules), shape
        self._loss, self._eps = find_loss(spec.training.loss), spec.training.eps
        by_module = [dict(module.named_parameters()) for module in modules]
        self.parameters: dict[str, Tensor] = {
            name: torch.stack([one[name].detach() for one in by_module])
            for name in by_module[0]
        }
        for row, one in enumerate(by_module):
            for name, parameter in one.items():
                parameter.data = self.parameters[name][row]
        self._optimizers = [_make_optimizer(spec, module) for module in modules]
        self.state: dict[str, Tensor] = {}
        device = next(iter(self.parameters.values())).device
        self.accumulators = Accumulators.zeros(len(self._modules), str(device))

    def make_steps(self, examples: Any, step_range: StepRange) -> None:
        """See `birthmark.training.Path`."""
        size = self._spec.training.batch_size
        order_RN = step_range.order_RN
        for number, lr in enumerate(step_range.lrs):
            start = (step_range.first_batch + number) * size
            for row in range(len(self._modules)):
                if self.accumulators.nonfinite_step_R[row] < 0:
                    own_N = order_RN[row % len(order_RN)]
                    x, y_B = examples.gather(own_N[start : start + size])
                    step = step_range.first_step + number
                    self._step(row, self._shaped(x), y_B, lr, step)

    def evaluate(self, examples: Any) -> Tensor:
        """See `birthmark.training.Path`."""
        sums_2R = torch.zeros(
            2,
            len(self._modules),
            dtype=torch.float64,
            device=self.accumulators.loss_R.device,
        )
        for module in self._modules:
            module.eval()
        for index in examples.slices(_EVALUATION_BATCH):
            x, y_B = examples.gather(index)
            for row, module in enumerate(self._modules):
                with torch.no_grad():
                    z_BK = module(self._shaped(x))
                loss_B = self._loss.value(z_BK, y_B, self._eps)
                right_B = z_BK.argmax(dim=-1) == y_B
                sums_2R[0, row] += loss_B.sum(dtype=torch.float64)
                sums_2R[1, row] += right_B.sum()
        return sums_2R / len(examples)

    def _step(self, row: int, x: Tensor, y_B: Tensor, lr: float, step: int) -> None:
        module, optimizer = self._modules[row].train(), self._optimizers[row]
        with torch.enable_grad(), torch.random.fork_rng():
            torch.manual_seed(self._noise_seed(row, step))
            z_BK = module(x)
            loss_B = self._loss.value(z_BK, y_B, self._eps)
        if not torch.isfinite(loss_B).all():
            self.accumulators.nonfinite_step_R[row] = step
            return
        self._count(row, loss_B.detach(), z_BK.detach(), y_B)
        optimizer.zero_grad()
        with torch.enable_grad():
            torch.autograd.backward(loss_B.mean())
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()

    def _count(self, row: int, loss_B: Tensor, z_BK: Tensor, y_B: Tensor) -> None:
        accumulators = self.accumulators
        p_true_B = torch.softmax(z_BK, dim=-1).gather(-1, y_B[:, None]).squeeze(-1)
        accumulators.loss_R[row] += loss_B.sum(dtype=torch.float64)
        accumulators.correct_R[row] += (z_BK.argmax(dim=-1) == y_B).sum()
        accumulators.below_eps_R[row] += (p_true_B < self._eps).sum()
        accumulators.saturated_R[row] += (p_true_B > 1 - self._eps).sum()

    def _shaped(self, x_BI: Tensor) -> Tensor:
        # a copy: the examples come in a buffer that the next batch overwrites
        return x_BI.reshape(len(x_BI), *self._shape).clone()

    def _noise_seed(self, row: int, step: int) -> int:
        noise = stream(self._spec.run.seed, row, "noise", f"step{step}")
        return int(noise.integers(2**63))


def _make_optimizer(spec: RunSpec, module: nn.Module) -> torch.optim.Optimizer:
    training = spec.training
    if training.optimizer == "adam":
        return torch.optim.Adam(
            module.parameters(),
            lr=training.lr,
            betas=training.betas,
            eps=training.adam_eps,
            weight_decay=training.weight_decay,
        )
    return torch.optim.SGD(
        module.parameters(),
        lr=training.lr,
        momentum=training.momentum,
        nesterov=training.nesterov,
        weight_decay=training.weight_decay,
    )
