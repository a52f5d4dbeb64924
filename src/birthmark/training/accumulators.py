"""What a stack has met since the epoch began, and which replicas are frozen."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from birthmark.shapes import Array


@dataclass
class Accumulators:
    """Sums over the examples visited in the current epoch, added to in place."""

    loss_R: Tensor  # float64
    correct_R: Tensor  # int64, as the following
    below_eps_R: Tensor  # examples whose true class has a probability below eps
    saturated_R: Tensor  # ... above 1 - eps
    nonfinite_step_R: Tensor  # step before which NaN or Inf froze the replica, else -1

    @classmethod
    def zeros(cls, num_replicas: int, device: str = "cpu") -> "Accumulators":
        """Nothing met, nobody frozen."""

        def count() -> Tensor:
            return torch.zeros(num_replicas, dtype=torch.int64, device=device)

        loss_R = torch.zeros(num_replicas, dtype=torch.float64, device=device)
        return cls(loss_R, count(), count(), count(), count() - 1)

    @property
    def sums(self) -> dict[str, Tensor]:
        """The sums by name, which begin anew with each epoch."""
        return {
            "loss": self.loss_R,
            "correct": self.correct_R,
            "below_eps": self.below_eps_R,
            "saturated": self.saturated_R,
        }

    def part(self, rows: slice) -> "Accumulators":
        """That of some replicas, in the same memory."""
        return Accumulators(**{name: value[rows] for name, value in vars(self).items()})

    def begin_epoch(self) -> None:
        """Set the sums to zero; who is frozen stays frozen."""
        for values_R in self.sums.values():
            values_R.zero_()


def read_at_once(values: Mapping[str, Tensor]) -> dict[str, Array]:
    """What lies on the device, brought to the host in one transfer.

    Each transfer makes the host wait for all that is queued before it.

    Args:
        values: Of one length, float64 or whole numbers below 2^53, which float64 holds
            exactly.
    """
    packed = torch.stack([value_R.to(torch.float64) for value_R in values.values()])
    return {
        name: row_R if value_R.is_floating_point() else row_R.astype(np.int64)
        for (name, value_R), row_R in zip(
            values.items(), packed.cpu().numpy(), strict=True
        )
    }
