"""Units that no gradient reaches any more, while the others of their tensor learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from birthmark.shapes import Finding, Parameters

_IN_A_ROW = 8  # recorded steps without a gradient, at least: a batch may miss a unit
_CHANCE = 1e-6  # of so many in a row for a unit that is as often active as it was


class DeadUnits:
    """By name of weight, how many recorded steps in a row each unit had no gradient.

    Rows of embeddings have none where their token is not in the batch, and of a shard
    this process sees a part: both are left out.
    """

    def __init__(self) -> None:
        # by name of weight, of each unit: records in a row without a gradient, and
        # records with one; records in all
        self._still: dict[str, Tensor] = {}
        self._lived: dict[str, Tensor] = {}
        self._count: dict[str, int] = {}

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
            is_still = ~gradient.bool().any(others)
            if is_still.all():
                continue  # a tensor as a whole stands still, which is said apart
            nothing = torch.zeros_like(is_still, dtype=torch.int64)
            before, lived = (
                kept.get(name, nothing).to(is_still.device)
                for kept in (self._still, self._lived)
            )
            self._still[name] = (before + 1) * is_still
            self._lived[name] = lived + ~is_still
            self._count[name] = self._count.get(name, 0) + 1

    def died(self, name: str) -> Tensor:
        """Which units of a weight had a gradient and have none any more, bool [O].

        One that is active as often as it was before, in independent batches, would be
        missed so often in a row with a chance of at most one in a million.
        """
        still, lived = self._still[name], self._lived[name]
        missed = 1 - (lived + 1) / (self._count[name] - still + 2)
        return (still >= _IN_A_ROW) & (lived > 0) & (missed**still < _CHANCE)

    def findings(self) -> tuple[Finding, ...]:
        """Units that died, and those that never had a gradient."""
        died: dict[str, int] = {}
        never: dict[str, int] = {}
        for name, still in self._still.items():
            never_lived = (still >= _IN_A_ROW) & (self._lived[name] == 0)
            for found, which in ((died, self.died(name)), (never, never_lived)):
                if count := int(which.sum()):
                    found[name] = count
        return (
            *(() if not died else (self._found("units_died", died),)),
            *(() if not never else (self._found("units_silent", never),)),
        )

    def state_dict(self) -> dict[str, Any]:
        """Tensors from which `load_state_dict` goes on."""
        return {
            "still": {name: still.cpu() for name, still in self._still.items()},
            "lived": {name: lived.cpu() for name, lived in self._lived.items()},
            "count": dict(self._count),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know what was known where `state_dict` was taken; nothing of an older one."""
        if "count" not in state:
            return
        self._still = dict(state["still"])
        self._lived = dict(state["lived"])
        self._count = dict(state["count"])

    def _is_most(self, count: Mapping[str, int]) -> bool:
        """Whether in any tensor more units have died than live."""
        return any(n > len(self._still[name]) / 2 for name, n in count.items())

    def _found(self, kind: str, count: Mapping[str, int]) -> Finding:
        parts = [
            f"{n} of {len(self._still[name])} in {name}" for name, n in count.items()
        ]
        more = f" and {len(parts) - 3} more tensors" if len(parts) > 3 else ""
        has_died = kind == "units_died"
        told = (
            "units that had a gradient had none at the last recorded steps"
            if has_died
            else "units had no gradient at any recorded step"
        )
        return Finding(
            what=f"{told}: {', '.join(parts[:3])}{more}",
            why="a unit whose gradient is exactly 0 learns nothing; a relu that is off "
            "on all examples has none",
            how=f"rows of the gradient that were 0 at each of the last {_IN_A_ROW} "
            "recorded steps or more; batches would miss a unit that is active as often "
            "as before so many times with a chance of 1 in 1,000,000",
            source="arXiv 1903.06733",
            # a few silent units are common in healthy networks
            level="warning" if has_died and self._is_most(count) else "note",
            values={name: float(n) for name, n in count.items()},
            name=kind,
            where=tuple(count),
            advice="a smaller learning rate, or a leaky activation"
            if has_died
            else "look at the start: birthmark check",
        )
