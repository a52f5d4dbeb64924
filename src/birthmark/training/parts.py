"""A stack that is trained part by part, since all of it would not fit in memory."""

import numpy as np
import torch
from torch import Tensor

from birthmark.training.examples import Examples
from birthmark.training.step_ranges import StepRange
from birthmark.training.stepwise import StepwisePath


class PartedPath:
    """Some replicas at a time, all through the steps asked for, on the path of a stack.

    The weights lie where they lay; only the working memory becomes less.
    """

    def __init__(self, whole: StepwisePath, num_parts: int) -> None:
        """Take over a path that has made no step yet.

        Args:
            whole: That of all replicas.
            num_parts: How many parts, as equal as can be.
        """
        self.name, self.parameters, self.accumulators = (
            whole.name,
            whole.parameters,
            whole.accumulators,
        )
        parts = np.array_split(np.arange(len(self.accumulators.loss_R)), num_parts)
        self._rows = [slice(int(part[0]), int(part[-1]) + 1) for part in parts]
        self._parts = [whole.part(rows) for rows in self._rows]

    @property
    def state(self) -> dict[str, Tensor]:
        """Of the optimizer, all parts together."""
        states = [part.state for part in self._parts]
        joined = {}
        for name, value in states[0].items():
            values = [state[name] for state in states]
            # a count of steps, which ends early where all of a part are frozen
            latest = torch.stack(values).max() if value.dim() == 0 else None
            joined[name] = torch.cat(values) if latest is None else latest
        return joined

    @state.setter
    def state(self, state: dict[str, Tensor]) -> None:
        for rows, part in zip(self._rows, self._parts, strict=True):
            part.state = {
                name: value[rows] if value.dim() else value.clone()
                for name, value in state.items()
            }

    def make_steps(self, examples: Examples, step_range: StepRange) -> None:
        """See `Path`."""
        for rows, part in zip(self._rows, self._parts, strict=True):
            part.make_steps(examples, step_range.of_rows(rows))

    def evaluate(self, examples: Examples) -> Tensor:
        """See `Path`."""
        return torch.cat([part.evaluate(examples) for part in self._parts], dim=1)
