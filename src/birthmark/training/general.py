"""Any network and any optimizer, through autograd over stacked parameters."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor

from birthmark.network import Forward
from birthmark.spec import NetworkSpec, RunSpec
from birthmark.training.dropout import Dropout
from birthmark.training.losses import true_class_probability
from birthmark.training.optimizers import OPTIMIZERS, Optimizer
from birthmark.training.sizes import PathBytes, StackSizes
from birthmark.training.stepwise import BatchResult, StepwisePath

PIECE = 128  # examples that one replica evaluates at a time, where they go in turn


class GeneralPath(StepwisePath):
    """Any network and optimizer, through `torch.func` over stacked parameters.

    All replicas go through each operation at once, or in turn: on a CPU convolutions
    are quicker so than as groups of one convolution.
    """

    name = "general"

    def __init__(
        self,
        spec: RunSpec,
        parameters: dict[str, Tensor],
        forward: Forward,
        *,
        dropout: Dropout | None = None,
        lr_factors: Mapping[str, float] | None = None,
        in_turn: bool = False,
    ) -> None:
        """Take over the parameters.

        Args:
            spec: Its training; its network is not looked at.
            parameters: By name, [R, ...]; changed in place.
            forward: Of one replica: parameters by name, x [B, I], then the masks of
                dropout, to outputs [B, K].
            dropout: Of these replicas.
            lr_factors: On the learning rate, by name; 1 unless said.
            in_turn: Whether one replica follows the other in each step.
        """
        super().__init__(spec, parameters)
        self._training, self._lr_factors = spec.training, lr_factors
        self._optimizer = self._make_optimizer()
        self._grads: dict[str, Tensor] = {}
        self._forward, self._dropout, self._in_turn = forward, dropout, in_turn
        loss, eps = self._loss, self._eps

        def mean_loss(
            one: dict[str, Tensor], x_BI: Tensor, y_B: Tensor, *masks: Tensor
        ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            z_BK = forward(one, x_BI, *masks)
            loss_B = loss.value(z_BK, y_B, eps)
            return loss_B.mean(), (loss_B, z_BK)

        self._mean_loss = mean_loss

    @classmethod
    def count_bytes(cls, sizes: StackSizes, rows: int, count: int) -> PathBytes:
        """See `StepwisePath`."""
        inputs, *outputs = sizes.values
        batch, gathered = sizes.spec.training.batch_size, sizes.gathered(rows)
        in_turn = goes_in_turn(sizes.spec.network, sizes.device)
        copies = 5 if sizes.spec.network.dropout else 3
        passing = (1 if in_turn else rows) * batch * copies * sum(outputs)
        # gradients, and what is made of them
        kept = rows * (sizes.num_weights + 2 * sizes.largest)
        step = gathered * (1 + sizes.item) + (passing + kept) * sizes.item
        at_once = min(count, PIECE) if in_turn else rows * count
        through = max(i + 2 * o for i, o in pairwise([0, *outputs]))
        values = max(at_once * through, rows * count * 3 * outputs[-1])
        seen = count * inputs * (1 + sizes.item)
        return PathBytes(sizes.weights, step, seen + values * sizes.item)

    def part(self, rows: slice) -> Self:
        """See `StepwisePath`."""
        part = super().part(rows)
        part._optimizer = self._make_optimizer()
        if self._dropout is not None:
            part._dropout = self._dropout.part(rows)
        return part

    @property
    def state(self) -> dict[str, Tensor]:
        """Moments of the optimizer."""
        return self._optimizer.state

    @state.setter
    def state(self, state: dict[str, Tensor]) -> None:
        self._optimizer.state = state

    def differentiate(self, x: Tensor, y_RB: Tensor) -> BatchResult:
        """See `StepwisePath`."""
        differentiate = self._one_by_one if self._in_turn else self._all_at_once
        self._grads, loss_RB, z_RBK = differentiate(x, y_RB)
        p_true_RB = true_class_probability(z_RBK, y_RB)
        return BatchResult(loss_RB, p_true_RB, z_RBK.argmax(dim=-1))

    def update(self, lr: float) -> None:
        """See `StepwisePath`."""
        self._optimizer.update(self.parameters, self._grads, lr)

    def forward(self, x_BI: Tensor) -> Tensor:
        """See `StepwisePath`."""
        if self._in_turn:
            pieces = torch.split(x_BI, PIECE)
            rows = (self._row(row) for row in range(self._num_replicas))
            return torch.stack(
                [torch.cat([self._forward(one, x) for x in pieces]) for one in rows]
            )
        per_replica = torch.func.vmap(self._forward, in_dims=(0, None))
        z_RBK: Tensor = per_replica(self.parameters, x_BI)
        return z_RBK

    def _all_at_once(
        self, x: Tensor, y_RB: Tensor
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Gradients by name [R, ...], losses [R, B], outputs [R, B, K]."""
        by_row = [self._masks(row, y_RB) for row in range(self._num_replicas)]
        masks = [torch.stack(of_layer) for of_layer in zip(*by_row, strict=True)]
        x_dim = 0 if x.dim() > y_RB.dim() else None
        in_dims = (0, x_dim, 0, *(0 for _ in masks))
        differentiate = torch.func.grad(self._mean_loss, has_aux=True)
        per_replica = torch.func.vmap(differentiate, in_dims=in_dims)
        grads, (loss_RB, z_RBK) = per_replica(self.parameters, x, y_RB, *masks)
        return grads, loss_RB, z_RBK

    def _one_by_one(
        self, x: Tensor, y_RB: Tensor
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """See `_all_at_once`."""
        gradients, losses, outputs = [], [], []
        for row, y_B in enumerate(y_RB):
            one = {n: value.requires_grad_() for n, value in self._row(row).items()}
            x_BI = x[row] if x.dim() > y_RB.dim() else x
            with torch.enable_grad():
                loss, (loss_B, z_BK) = self._mean_loss(
                    one, x_BI, y_B, *self._masks(row, y_RB)
                )
            gradients.append(torch.autograd.grad(loss, list(one.values())))
            losses.append(loss_B.detach())
            outputs.append(z_BK.detach())
        stacked = map(torch.stack, zip(*gradients, strict=True))
        grads = dict(zip(self.parameters, stacked, strict=True))
        return grads, torch.stack(losses), torch.stack(outputs)

    def _make_optimizer(self) -> Optimizer:
        return OPTIMIZERS[self._training.optimizer](self._training, self._lr_factors)

    def _row(self, row: int) -> dict[str, Tensor]:
        return {name: value[row].detach() for name, value in self.parameters.items()}

    def _masks(self, row: int, y_RB: Tensor) -> tuple[Tensor, ...]:
        if self._dropout is None:
            return ()
        return self._dropout.masks(row, self.step, y_RB.shape[1])


def goes_in_turn(network: NetworkSpec, device: str) -> bool:
    """Whether one replica follows the other in each step."""
    return network.is_convolutional and device == "cpu"
