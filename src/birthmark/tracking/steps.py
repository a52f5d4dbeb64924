"""What the steps of an optimizer did: the last recorded one, and all since the start.

Weights and gradients before a step that will be recorded are kept at a sample of each
tensor, so that this costs a small part of a record and no second copy of the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from birthmark.measurements import SQUARES, Step, merge_squares, sum_step
from birthmark.shapes import Finding, Parameters
from birthmark.tracking.attribution import Attribution
from birthmark.tracking.looks import Groups, Look, Rule
from birthmark.tracking.optimizer_rules import ln_shrink

PLACES = 2**14  # of a large tensor, at which a step is looked at


class Steps:
    """The last recorded step by name of tensor, and what was done since the start.

    Attributes:
        last: What was summed of the last step that was looked at; empty before.
    """

    def __init__(
        self,
        model: nn.Module | None,
        optimizers: Sequence[torch.optim.Optimizer],
        *,
        attribute: bool,
    ) -> None:
        """Look at nothing yet.

        Args:
            model: Whose parameters are stepped.
            optimizers: That step them.
            attribute: Whether to look at every step, and to add up what made the whole
                deviation.
        """
        self._groups = Groups(model, optimizers)
        self._attribution = (
            Attribution(self._groups) if attribute and self._groups.are_known else None
        )
        self._shrinks: dict[str, float] = {}  # by group: sum of ln(1 - lr * decay)
        self.last: dict[str, Step] = {}
        self._dtypes: dict[str, torch.dtype] = {}

    @property
    def is_watching(self) -> bool:
        """Whether there is an optimizer, and a module whose parameters it has."""
        return self._groups.are_known

    def begin(self, whole: Parameters) -> None:
        """Choose the places of each tensor; their names and shapes count."""
        self._whole, self._look = whole, Look(self._groups, whole, PLACES)
        if self._attribution is not None:
            self._attribution.begin(whole)

    def before(self, *, is_recorded: bool) -> None:
        """Keep what is needed of the step that is about to be made."""
        if is_recorded:
            self._look.before()
        if self._attribution is not None:
            self._attribution.before()

    def count(self) -> None:
        """Take in one step that was made: what decay makes of the weights."""
        for key, optimizer, group in self._groups.every():
            shrink = ln_shrink(optimizer, group)
            if shrink:
                self._shrinks[key] = self._shrinks.get(key, 0.0) + shrink
        if self._attribution is not None:
            self._attribution.after()

    def look_after(self) -> dict[str, Step]:
        """What the step did, of which the first half was kept; empty without it."""
        sums, units = {}, {}
        for name, seen in self._look.after():
            parts = (seen.gradient, seen.by_gradient, seen.by_decay)
            found, units[name] = sum_step(seen.before, seen.after, *parts)
            sums[name] = found * seen.growth
            self._dtypes[name] = seen.dtype
        if not sums:
            return {}
        merged, _ = merge_squares(self._whole, sums, units, SQUARES)
        self.last = {name: Step(values) for name, values in merged.items()}
        return self.present()

    def present(self) -> dict[str, Step]:
        """The last step that was looked at, and what all have done up to now."""
        own, rules = self._groups.named(self._whole), self._groups.by_identity()
        whole = {} if self._attribution is None else self._attribution.sums()
        return {
            name: replace(
                step,
                shrink=self._shrink_of(own[name], rules),
                whole_RS=whole.get(name),
            )
            for name, step in self.last.items()
            if name in own
        }

    def findings(self) -> tuple[Finding, ...]:
        """That rounding takes more than it leaves, in numbers of few digits."""
        found = []
        for dtype in dict.fromkeys(self._dtypes.values()):
            names = [n for n in self.last if self._dtypes[n] == dtype]
            absorbed, wanted = (
                sum(float(self.last[n].of(which).sum()) for n in names)
                for which in ("absorbed", "wanted")
            )
            if dtype.itemsize <= 2 and wanted and absorbed > wanted / 2:
                found.append(_absorbed(dtype, absorbed / wanted, len(names)))
        return tuple(found)

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors from which `load_state_dict` goes on."""
        state: dict[str, Any] = {"shrinks": dict(self._shrinks)}
        if self._attribution is not None:
            state["attribution"] = self._attribution.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know what was known where `state_dict` was taken."""
        self._shrinks = dict(state["shrinks"])
        if self._attribution is not None:
            self._attribution.load_state_dict(state.get("attribution", {}))

    def _shrink_of(self, value: nn.Parameter, rules: Mapping[int, Rule]) -> float:
        if id(value) not in rules:
            return math.nan
        key, optimizer, group = rules[id(value)]
        if ln_shrink(optimizer, group) is None:
            return math.nan
        return math.exp(self._shrinks.get(key, 0.0))


def _absorbed(dtype: torch.dtype, share: float, count: int) -> Finding:
    name = str(dtype).removeprefix("torch.")
    return Finding(
        what=f"rounding to {name} takes {share:.0%} of the updates whole, in {count} "
        "tensors of it",
        why="a weight whose update is below half a unit in its last place never moves",
        how="weights with a gradient that the last recorded step left at their very "
        f"bits, at up to {PLACES:,} places of each tensor; in float32 it is near 0 %",
        source="arXiv 2511.08567, 2602.03839",
        level="warning",
        values={"absorbed": share},
        name="absorbed",
        advice="train float32 weights under torch.autocast, or add the lost parts up "
        "(stochastic rounding, Kahan summation)",
    )
