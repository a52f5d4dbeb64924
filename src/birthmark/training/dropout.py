"""Which activations stay at a step, by address: dropout of Srivastava et al. (2014).

The masks of a replica depend on (seed, replica, step) alone, so neither the size of a
stack nor a stop changes them.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from birthmark.network import Chain
from birthmark.seeds import stream


@dataclass(frozen=True)
class Dropout:
    """The dropout of some replicas of a run, with a stream for each of them and step.

    Attributes:
        chain: The network: its share, and the shapes of its hidden layers.
        seed: Seed of the run.
        replicas: Their numbers in the run.
        device: Where the masks are wanted; they are drawn on the host.
    """

    chain: Chain
    seed: int
    replicas: tuple[int, ...]
    device: str = "cpu"

    def masks(self, row: int, step: int, batch_size: int) -> tuple[Tensor, ...]:
        """By hidden layer: True where an activation stays, [B, ...] bool.

        Drawn layer after layer from the stream (seed, replica, `dropout`, step), in
        float32: a number below the share means out.

        Args:
            row: Which of the replicas.
            step: Optimizer steps made before this one.
            batch_size: Examples in this batch, B.
        """
        draws = stream(self.seed, self.replicas[row], "dropout", f"step{step}")
        share = np.float32(self.chain.network.dropout)
        return tuple(
            torch.from_numpy(
                draws.random((batch_size, *shape), dtype=np.float32) >= share
            ).to(self.device)
            for shape in self.chain.hidden_shapes
        )

    def part(self, rows: slice) -> "Dropout":
        """That of some of the replicas."""
        return replace(self, replicas=self.replicas[rows])
