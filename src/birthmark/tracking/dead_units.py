"""Units that no gradient reaches any more, while the others of their tensor learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from birthmark.shapes import Finding, Parameters

_IN_A_ROW = 8  # recorded steps without a gradient; one batch may miss a living unit


class DeadUnits:
    """By name of weight, how many recorded steps in a row each unit had no gradient.

    Rows of embeddings have none where their token is not in the batch, and of a shard
    this process sees a part: both are left out.
    """

    def __init__(self) -> None:
        self._still: dict[str, Tensor] = {}

    def take_in(self, own: Mapping[str, nn.Parameter], whole: Parameters) -> None:
        """Look at the gradients of a step that is recorded."""
        for name, value in own.items():
            one, gradient = whole[name], value.grad
            if gradient is None or gradient.layout != torch.strided:
                continue
            if gradient.ndim < 2 or one.kind == "embedding" or one.shard is not None:
                continue
            axis = {"OI": 0, "IO": gradient.ndim - 1, "transposed": 1}[one.layout]
            others = [dim for dim in range(gradient.ndim) if dim != axis]
            is_still = ~gradient.bool().any(others) if others else ~gradient.bool()
            if is_still.all():
                continue  # a tensor as a whole: it stands still, which is said apart
            before = self._still.get(name)
            count = 0 if before is None else before.to(is_still.device)
            self._still[name] = (count + 1) * is_still

    def findings(self) -> tuple[Finding, ...]:
        """Tensors with dead units, in one finding."""
        found = {
            name: dead
            for name, still in self._still.items()
            if (dead := int((still >= _IN_A_ROW).sum()))
        }
        if not found:
            return ()
        parts = [
            f"{dead} of {len(self._still[name])} in {name}"
            for name, dead in found.items()
        ]
        more = f" and {len(parts) - 3} more tensors" if len(parts) > 3 else ""
        return (
            Finding(
                what=f"units are dead: {', '.join(parts[:3])}{more}",
                why="a unit whose gradient is exactly 0 learns nothing; a relu that is "
                "off on all examples has none",
                how="rows of the gradient that were 0 at each of the last "
                f"{_IN_A_ROW} recorded steps",
                source="arXiv 1903.06733",
                level="warning",
                values={name: float(dead) for name, dead in found.items()},
                name="dead_units",
                where=tuple(found),
                advice="a smaller learning rate, a leaky activation, or a start whose "
                "biases are not negative",
            ),
        )

    def state_dict(self) -> dict[str, Any]:
        """Tensors from which `load_state_dict` goes on."""
        return {name: still.cpu() for name, still in self._still.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know what was known where `state_dict` was taken."""
        self._still = dict(state)
