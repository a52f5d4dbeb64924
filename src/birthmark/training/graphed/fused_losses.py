"""Losses of a stack, in as few kernels as torch allows, and nothing the host must see.

A fused loss gives each example a score, from which loss and probability can be read
later for many steps at once. The score is never positive infinity or NaN where the loss
is finite, and never finite where it is not: so the least score of a replica tells
whether it goes on.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

_aten = torch.ops.aten


@dataclass(frozen=True)
class Places:
    """What a fused loss writes for a batch."""

    score_RB: Tensor
    p_true_RB: Tensor  # only by fused losses whose scores do not tell it
    delta_RBK: Tensor  # the gradient by the outputs, times the rate


class FusedLoss(ABC):
    """A loss with buffers of its own for batches of one size."""

    pads_outputs = True  # whether outputs of -1e30 behind the classes change nothing

    def __init__(self, z_RBK: Tensor, num_classes: int, eps: float) -> None:
        self.scale = 1.0  # of the gradient; to be part of the rate
        self._p_RBK = torch.empty_like(z_RBK)
        self._minus_one_RB1 = -torch.ones_like(z_RBK[..., :1])
        self._eps = eps

    @abstractmethod
    def differentiate(
        self, z_RBK: Tensor, y_RB: Tensor, rate: Tensor, to: Places
    ) -> None:
        """Write the scores, and the gradient by the outputs times the rate.

        Args:
            z_RBK: Outputs, which stay as they are.
            y_RB: Classes.
            rate: Scalar on the device, `scale` included.
            to: Where they are written.
        """

    @abstractmethod
    def read(self, score: Tensor, p_true: Tensor) -> tuple[Tensor, Tensor]:
        """Losses and probabilities of the true classes, of any shape."""


class FusedCrossEntropy(FusedLoss):
    """The score is the logarithm of the probability of the true class."""

    def differentiate(
        self, z_RBK: Tensor, y_RB: Tensor, rate: Tensor, to: Places
    ) -> None:
        """See `FusedLoss`."""
        p_RBK, y_RB1 = self._p_RBK, y_RB.unsqueeze(-1)
        torch.log_softmax(z_RBK, -1, out=p_RBK)
        torch.gather(p_RBK, -1, y_RB1, out=to.score_RB.unsqueeze(-1))
        p_RBK.exp_().scatter_add_(-1, y_RB1, self._minus_one_RB1)
        torch.mul(p_RBK, rate, out=to.delta_RBK)

    def read(self, score: Tensor, p_true: Tensor) -> tuple[Tensor, Tensor]:
        """See `FusedLoss`."""
        return -score, score.exp()


class FusedClippedCrossEntropy(FusedLoss):
    """The score is the probability of the true class."""

    def __init__(self, z_RBK: Tensor, num_classes: int, eps: float) -> None:
        super().__init__(z_RBK, num_classes, eps)
        self._factor_RB = torch.empty_like(z_RBK[..., 0])
        # hardtanh_backward leaves the edges out, and clamp has them inside
        edges = torch.tensor([eps, 1 - eps], dtype=z_RBK.dtype, device="cpu")
        outside = torch.tensor([-torch.inf, torch.inf], dtype=edges.dtype, device="cpu")
        self._low, self._high = torch.nextafter(edges, outside).tolist()

    def differentiate(
        self, z_RBK: Tensor, y_RB: Tensor, rate: Tensor, to: Places
    ) -> None:
        """See `FusedLoss`."""
        p_RBK, y_RB1 = self._p_RBK, y_RB.unsqueeze(-1)
        torch.softmax(z_RBK, -1, out=p_RBK)
        torch.gather(p_RBK, -1, y_RB1, out=to.score_RB.unsqueeze(-1))
        p_RBK.scatter_add_(-1, y_RB1, self._minus_one_RB1)
        _aten.hardtanh_backward.grad_input(
            rate.expand_as(to.score_RB),
            to.score_RB,
            self._low,
            self._high,
            grad_input=self._factor_RB,
        )
        torch.mul(p_RBK, self._factor_RB.unsqueeze(-1), out=to.delta_RBK)

    def read(self, score: Tensor, p_true: Tensor) -> tuple[Tensor, Tensor]:
        """See `FusedLoss`."""
        return -torch.log(torch.clamp(score, self._eps, 1 - self._eps)), score


class FusedMeanSquaredError(FusedLoss):
    """The score is the loss, below zero."""

    pads_outputs = False

    def __init__(self, z_RBK: Tensor, num_classes: int, eps: float) -> None:
        super().__init__(z_RBK, num_classes, eps)
        self.scale = 2 / num_classes

    def differentiate(
        self, z_RBK: Tensor, y_RB: Tensor, rate: Tensor, to: Places
    ) -> None:
        """See `FusedLoss`."""
        error_RBK, y_RB1 = self._p_RBK, y_RB.unsqueeze(-1)
        torch.softmax(z_RBK, -1, out=error_RBK)
        torch.gather(error_RBK, -1, y_RB1, out=to.p_true_RB.unsqueeze(-1))
        error_RBK.copy_(z_RBK).scatter_add_(-1, y_RB1, self._minus_one_RB1)
        torch.mul(error_RBK, error_RBK, out=to.delta_RBK)
        torch.mean(to.delta_RBK, -1, out=to.score_RB)
        to.score_RB.neg_()
        torch.mul(error_RBK, rate, out=to.delta_RBK)

    def read(self, score: Tensor, p_true: Tensor) -> tuple[Tensor, Tensor]:
        """See `FusedLoss`."""
        return -score, p_true


FUSED_LOSSES: dict[str, type[FusedLoss]] = {
    "cross_entropy": FusedCrossEntropy,
    "clipped_cross_entropy": FusedClippedCrossEntropy,
    "mean_squared_error": FusedMeanSquaredError,
}
