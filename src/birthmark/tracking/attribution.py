"""What made the whole deviation: gradients, weight decay, or momentum.

Each step is looked at from both sides, at a few places of each tensor, and what its
gradient and its decay made there is added up. So the shares are exact at these places,
however the learning rate goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from birthmark.measurements import in_one_unit, merge_squares
from birthmark.shapes import Parameters
from birthmark.tracking.looks import Groups, Look

PLACES = 2**10  # of a large tensor


class Attribution:
    """Sums of what gradients and weight decay have done since the start."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        # by name, [3, N] in float64: weights at the start, by gradient, by decay
        self._parts: dict[str, Tensor] = {}

    def begin(self, whole: Parameters) -> None:
        """Take the weights as they are for the start; names and shapes are given."""
        self._whole = whole
        self._look = Look(self._groups, whole, PLACES)
        self._parts = {
            name: torch.cat([row.double(), *2 * [torch.zeros_like(row).double()]])
            for name, row in self._look.take(self._groups.named(whole)).items()
        }

    def before(self) -> None:
        """Before each step."""
        self._look.before()

    def after(self) -> None:
        """After each step: add up what it did."""
        for name, seen in self._look.after():
            parts = self._parts.get(name)
            if parts is None:
                continue
            for row, part in ((1, seen.by_gradient), (2, seen.by_decay)):
                parts[row] += torch.nan if part is None else part[0]

    def sums(self) -> dict[str, Tensor]:
        """By name the squared deviation and its products with both parts, [1, 3]."""
        own = self._groups.named(self._whole)
        local, units = {}, {}
        for name, row in self._look.take(own).items():
            parts = self._parts.get(name)
            if parts is not None and parts.shape[1] == row.shape[1]:
                move = row[0].double() - parts[0]
                rows, units[name] = in_one_unit(move[None], *parts[1:, None])
                products = torch.cat(rows) @ rows[0][0]
                local[name] = products[None] * self._look.growth(name)
        return merge_squares(self._whole, local, units)[0]

    def state_dict(self) -> dict[str, Any]:
        """Tensors from which `load_state_dict` goes on."""
        return {name: parts.clone() for name, parts in self._parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know what was known where `state_dict` was taken."""
        self._parts = {
            name: state[name].to(parts.device)
            for name, parts in self._parts.items()
            if name in state
        }
