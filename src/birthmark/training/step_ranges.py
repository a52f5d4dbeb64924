"""Steps in a row, as a path is asked to make them."""

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class StepRange:
    """Steps within an epoch, one for each learning rate."""

    order_RN: Tensor  # the examples in the order of this epoch; [1, N] for all replicas
    first_batch: int  # in the epoch
    first_step: int  # in the run
    lrs: list[float]

    def __len__(self) -> int:
        return len(self.lrs)

    def part(self, start: int, stop: int) -> "StepRange":
        """The steps from one of these to before another."""
        return StepRange(
            self.order_RN,
            self.first_batch + start,
            self.first_step + start,
            self.lrs[start:stop],
        )

    def of_rows(self, rows: slice) -> "StepRange":
        """The same steps for some of the replicas."""
        if len(self.order_RN) == 1:
            return self
        return replace(self, order_RN=self.order_RN[rows])
