"""What an optimizer holds, and how far its first update goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from birthmark.checkup.second_moments import root_mean_square
from birthmark.errors import SpecError
from birthmark.measurements import clean_name, find_held


@dataclass
class Held:
    """The names that an optimizer holds, and its rule for each."""

    optimizer: torch.optim.Optimizer
    groups: Mapping[str, Mapping[str, Any]]  # by parameter: settings of its group
    unread: list[str] = field(default_factory=list)

    @property
    def names(self) -> frozenset[str]:
        """Parameters that it will move."""
        return frozenset(self.groups)

    def update(self, name: str, leaf: Tensor, gradient: Tensor) -> float | None:
        """How far the first step moves a tensor, as a root mean square.

        A fresh optimizer of the same kind makes the step on a copy, so that the user's
        own keeps its state.
        """
        if name not in self.groups:
            return None
        copy = nn.Parameter(leaf.detach().clone())
        copy.grad = gradient
        kind: Any = type(self.optimizer)
        settings = {k: v for k, v in self.groups[name].items() if k != "params"}
        try:
            own = kind([{"params": [copy], **settings}], **self._required())
            own.step()
        except Exception as error:  # an optimizer of one's own may want anything
            if not self.unread:
                self.unread.append(
                    f"first update of {kind.__name__}: {type(error).__name__}: {error}"
                )
            return None
        return root_mean_square(copy.detach() - leaf.detach())

    def _required(self) -> dict[str, Any]:
        lr = self.optimizer.defaults.get("lr")
        return {} if lr is None else {"lr": lr}


def read_optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer | None
) -> Held | None:
    """Which of a model's parameters an optimizer holds.

    Raises:
        SpecError: It is none, or holds none of this model's parameters.
    """
    if optimizer is None:
        return None
    optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate's wrapper
    if not isinstance(optimizer, torch.optim.Optimizer):
        kind = type(optimizer).__name__
        raise SpecError(f"optimizer= takes a torch.optim.Optimizer, got {kind}")
    held = find_held(model, optimizer).groups
    groups = {
        name: optimizer.param_groups[held[clean_name(name)]]
        for name, _ in model.named_parameters()
        if clean_name(name) in held
    }
    if not groups:
        raise SpecError(
            "the optimizer holds none of this model's parameters: make it from "
            "model.parameters() of the model that is checked"
        )
    return Held(optimizer, groups)
