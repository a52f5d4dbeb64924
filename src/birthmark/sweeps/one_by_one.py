"""Models that cannot be stacked, trained one by one in plain torch, in step.

Buffers (running statistics) stay with their model; dropout draws from a stream of its
own for each (seed, replica, step). Batches, their order, learning rates and bookkeeping
are those of a stack.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from birthmark.errors import SpecError
from birthmark.seeds import stream
from birthmark.spec import RunSpec
from birthmark.sweeps.own_parts import LossFunction, OwnParts, name_function
from birthmark.training import Accumulators, StepRange, find_loss

_EVALUATION_BATCH = 1024


class OneByOnePath:
    """A `Path` of `training` whose replicas are separate modules and optimizers.

    The parameters of the modules become rows of `parameters`.
    """

    name = "one by one"

    def __init__(
        self,
        spec: RunSpec,
        modules: Sequence[nn.Module],
        shape: tuple[int, ...],
        own: OwnParts | None = None,
        *,
        has_classes: bool = True,
    ) -> None:
        """Take over the modules.

        Args:
            spec: Loss, optimizer and batches.
            modules: The replicas.
            shape: Of one example, as the modules take it.
            own: Loss and optimizer in the place of the spec's.
            has_classes: Whether outputs are numbers of the classes that targets are;
                without them nothing is right or wrong.
        """
        own = own or OwnParts()
        self._spec, self._modules, self._shape = spec, list(modules), shape
        self._losses, self._eps = find_losses(spec, own.loss), spec.training.eps
        self._has_classes = has_classes
        by_module = [dict(module.named_parameters()) for module in modules]
        self.parameters: dict[str, Tensor] = {
            name: torch.stack([one[name].detach() for one in by_module])
            for name in by_module[0]
        }
        for row, one in enumerate(by_module):
            for name, parameter in one.items():
                parameter.data = self.parameters[name][row]
        self._optimizers = [
            make_optimizer(spec, module, own.optimizer) for module in modules
        ]
        self._lrs = [read_lrs(optimizer) for optimizer in self._optimizers]
        device = next(iter(self.parameters.values())).device
        self.accumulators = Accumulators.zeros(len(self._modules), str(device))

    @property
    def state(self) -> dict[str, Tensor]:
        """Moments of the optimizers and buffers of the modules, packed as bytes."""
        kept = [
            {
                "optimizer": optimizer.state_dict(),
                "buffers": dict(module.named_buffers()),
            }
            for module, optimizer in zip(self._modules, self._optimizers, strict=True)
        ]
        written = io.BytesIO()
        torch.save(kept, written)
        return {"packed": torch.from_numpy(np.frombuffer(written.getvalue(), np.uint8))}

    @state.setter
    def state(self, state: Mapping[str, Tensor]) -> None:
        packed = io.BytesIO(state["packed"].cpu().numpy().tobytes())
        device = next(iter(self.parameters.values())).device
        try:
            kept = torch.load(packed, map_location=device, weights_only=True)
        except pickle.UnpicklingError as error:
            kind = type(self._optimizers[0]).__name__
            raise SpecError(
                f"the state of {kind} holds more than tensors and numbers, and is not "
                "read back: delete the run's folder, or compare into another store"
            ) from error
        for one, module, optimizer in zip(
            kept, self._modules, self._optimizers, strict=True
        ):
            optimizer.load_state_dict(one["optimizer"])
            buffers = dict(module.named_buffers())
            for name, value in one["buffers"].items():
                buffers[name].copy_(value)

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
                    loss_B = self._losses(z_BK, y_B)
                sums_2R[0, row] += loss_B.sum(dtype=torch.float64)
                if self._has_classes:
                    sums_2R[1, row] += (z_BK.argmax(dim=-1) == y_B).sum()
                else:
                    sums_2R[1, row] = torch.nan
        return sums_2R / len(examples)

    def _step(self, row: int, x: Tensor, y_B: Tensor, lr: float, step: int) -> None:
        module, optimizer = self._modules[row].train(), self._optimizers[row]
        with torch.enable_grad(), torch.random.fork_rng():
            torch.manual_seed(self._noise_seed(row, step))
            z_BK = module(x)
            loss_B = self._losses(z_BK, y_B)
        if not torch.isfinite(loss_B).all():
            self.accumulators.nonfinite_step_R[row] = step
            return
        self._count(row, loss_B.detach(), z_BK, y_B)
        optimizer.zero_grad()
        with torch.enable_grad():
            torch.autograd.backward(loss_B.mean())
        own = self._lrs[row]
        for group, own_lr in zip(optimizer.param_groups, own, strict=True):
            group["lr"] = lr * own_lr / max(own)
        optimizer.step()

    def _count(self, row: int, loss_B: Tensor, z_BK: Tensor, y_B: Tensor) -> None:
        accumulators = self.accumulators
        if not self._has_classes:
            accumulators.loss_R[row] += loss_B.sum(dtype=torch.float64)
            return
        z_BK = z_BK.detach()
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


def find_losses(
    spec: RunSpec, own: LossFunction | None
) -> Callable[[Any, Tensor], Tensor]:
    """From outputs and targets to the loss of each example, [B]."""
    if own is None:
        named, eps = find_loss(spec.training.loss), spec.training.eps
        return lambda z_BK, y_B: named.value(z_BK, y_B, eps)

    def losses(outputs: Any, y: Tensor) -> Tensor:
        value = own(outputs, y)
        if not isinstance(value, Tensor):
            raise SpecError(
                f"the loss {name_function(own)} returns {type(value).__name__}: return "
                "the tensor, so that its gradient can be taken"
            )
        if value.ndim and len(value) == len(y):
            return value.reshape(len(y), -1).mean(dim=1)
        return value.mean().expand(len(y))  # one number, the mean of its batch

    return losses


def read_lrs(optimizer: torch.optim.Optimizer) -> list[float]:
    """The learning rate of each group; the largest is the one of the spec.

    Raises:
        SpecError: There is none above 0.
    """
    found = [float(group.get("lr", 0.0)) for group in optimizer.param_groups]
    if not 0 < max(found) < float("inf"):
        kind = type(optimizer).__name__
        raise SpecError(f"{kind} has no learning rate above 0: give it an lr")
    return found


def make_optimizer(
    spec: RunSpec,
    module: nn.Module,
    own: Callable[[nn.Module], torch.optim.Optimizer] | None = None,
) -> torch.optim.Optimizer:
    """Of one replica: the user's own, or that of the spec."""
    if own is not None:
        return own(module)
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
