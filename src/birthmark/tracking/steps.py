"""What one step of an optimizer did, seen from both sides of it.

Weights and gradients before a step that will be recorded are kept at a sample of each
tensor, so that this costs a small part of a record and no second copy of the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from birthmark.measurements import (
    Step,
    clean_name,
    merge_additive,
    sum_step,
    to_local,
    unwrap,
)
from birthmark.shapes import Finding, Parameter, Parameters
from birthmark.tracking.samples import Sample

PLACES = 2**14  # of a large tensor, at which a step is looked at

Rule = tuple[torch.optim.Optimizer, dict[str, Any]]


class Steps:
    """The last recorded step by name of tensor, and what decay has done so far.

    Attributes:
        last: What was summed of the last step that was looked at; empty before.
    """

    def __init__(
        self, model: nn.Module | None, optimizers: Sequence[torch.optim.Optimizer]
    ) -> None:
        self._model, self._optimizers = model, list(optimizers)
        self._before: dict[str, tuple[Tensor, Tensor]] = {}
        self._shrinks: dict[str, float] = {}  # by group: sum of ln(1 - lr * decay)
        self.last: dict[str, Step] = {}
        self._dtypes: dict[str, torch.dtype] = {}

    @property
    def is_watching(self) -> bool:
        """Whether there is an optimizer, and a module whose parameters it has."""
        return self._model is not None and bool(self._optimizers)

    def begin(self, whole: Parameters) -> None:
        """Choose the places of each tensor; their names and shapes count."""
        self._whole, self._sample = whole, Sample(whole, PLACES)

    def look_before(self) -> None:
        """Keep weights and gradients of the step that is about to be made."""
        own = self._own()
        weights = self._take({n: p for n, p in own.items() if p.grad is not None})
        gradients = self._take(
            {n: p.grad for n, p in own.items() if p.grad is not None}
        )
        # a sample is a copy already, a small tensor is not
        self._before = {n: (weights[n].clone(), gradients[n].clone()) for n in weights}

    def count(self) -> None:
        """Take in one step that was made: what decay makes of the weights."""
        for key, optimizer, group in self._groups():
            shrink = _shrink(optimizer, group)
            if shrink:
                self._shrinks[key] = self._shrinks.get(key, 0.0) + shrink

    def look_after(self) -> dict[str, Step]:
        """What the step did, of which the first half was kept; empty without it."""
        if not self._before:
            return {}
        own, rules = self._own(), self._rules()
        after = self._take({name: own[name] for name in self._before if name in own})
        sums = {}
        for name, now in after.items():
            before, gradient = self._before[name]
            if before.shape != now.shape:
                continue
            key, optimizer, group = rules.get(id(own[name]), ("", None, {}))
            parts: tuple[Tensor | None, Tensor | None] = (None, None)
            if optimizer is not None:
                state = optimizer.state.get(own[name], {})
                taken = {
                    n: self._take({name: value})[name]
                    for n, value in state.items()
                    if isinstance(value, Tensor) and value.shape == own[name].shape
                }
                parts = _split(optimizer, group, state, taken, before, gradient)
            growth = self._sample.growth(name)
            sums[name] = sum_step(before, now, gradient, *parts) * growth
            self._dtypes[name] = own[name].dtype
        merged = merge_additive(self._whole, sums)
        self._before = {}
        self.last = {name: Step(values) for name, values in merged.items()}
        return self.present()

    def present(self) -> dict[str, Step]:
        """The last step that was looked at, and what decay has done up to now."""
        own, rules = self._own(), self._rules()
        return {
            name: replace(step, shrink=self._shrink_of(own[name], rules))
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
        """Plain values from which `load_state_dict` goes on."""
        return {"shrinks": dict(self._shrinks)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know what was known where `state_dict` was taken."""
        self._shrinks = dict(state["shrinks"])

    def _own(self) -> dict[str, nn.Parameter]:
        if self._model is None:
            return {}
        named = unwrap(self._model).named_parameters()
        return {
            clean: value
            for name, value in named
            if (clean := clean_name(name)) in self._whole
        }

    def _take(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rows [1, N] at the places of the sample."""
        given = {
            name: replace(self._whole[name], values=to_local(value.detach())[None])
            for name, value in tensors.items()
        }
        taken = self._sample.take(Parameters(given))
        return {name: _row(one) for name, one in taken.items()}

    def _groups(self) -> list[tuple[str, torch.optim.Optimizer, dict[str, Any]]]:
        return [
            (f"{place}.{number}", optimizer, group)
            for place, optimizer in enumerate(self._optimizers)
            for number, group in enumerate(optimizer.param_groups)
        ]

    def _rules(self) -> dict[int, tuple[str, torch.optim.Optimizer, dict[str, Any]]]:
        """By identity of a parameter: its group."""
        return {
            id(parameter): one
            for one in self._groups()
            for parameter in one[2]["params"]
        }

    def _shrink_of(self, value: nn.Parameter, rules: Mapping[int, Any]) -> float:
        key, optimizer, group = rules.get(id(value), ("", None, {}))
        if optimizer is None or _shrink(optimizer, group) is None:
            return math.nan
        return math.exp(self._shrinks.get(key, 0.0))


def _row(one: Parameter) -> Tensor:
    return one.values.reshape(1, -1)


def _is_decoupled(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> bool:
    return isinstance(optimizer, torch.optim.AdamW) or bool(
        group.get("decoupled_weight_decay")
    )


def _shrink(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> float | None:
    """What one step of decay leaves of a weight, its ln; None where it is not known."""
    decay, lr = float(group.get("weight_decay", 0.0)), float(group.get("lr", 0.0))
    if not decay:
        return 0.0
    if isinstance(optimizer, torch.optim.SGD):
        return math.log1p(-lr * decay / (1 - group["momentum"]))
    return math.log1p(-lr * decay) if _is_decoupled(optimizer, group) else None


def _split(
    optimizer: torch.optim.Optimizer,
    group: Mapping[str, Any],
    state: Mapping[str, Any],
    taken: Mapping[str, Tensor],
    before: Tensor,
    gradient: Tensor,
) -> tuple[Tensor | None, Tensor | None]:
    """What of a step its gradient makes, and what weight decay; None if not known."""
    w, g = before.double(), gradient.double()
    g = -g if group.get("maximize") else g
    decay, lr = float(group.get("weight_decay", 0.0)), float(group.get("lr", 0.0))
    if isinstance(optimizer, torch.optim.SGD):
        weight: float | Tensor = 1.0
        if group["momentum"]:
            # the first step takes the gradient whole: there is no sum before it
            weight = 1 - group["dampening"]
            weight = 1 + group["momentum"] * weight if group["nesterov"] else weight
        return -lr * weight * g, -lr * weight * decay * w
    if not isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW):
        return None, None
    squares = taken.get("max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq")
    if squares is None:
        return None, None
    (beta1, beta2), count = group["betas"], float(state["step"])
    size = squares.double().sqrt() / math.sqrt(1 - beta2**count) + group["eps"]
    rate = -lr * (1 - beta1) / (1 - beta1**count) / size
    is_decoupled = _is_decoupled(optimizer, group)
    return rate * g, (-lr * decay * w if is_decoupled else rate * decay * w)


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
