"""A step of an optimizer seen from both sides, at a sample of each tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from birthmark.measurements import clean_name, to_local, unwrap
from birthmark.shapes import Parameters
from birthmark.tracking.optimizer_rules import split_step
from birthmark.tracking.samples import Sample

Rule = tuple[str, torch.optim.Optimizer, dict[str, Any]]


@dataclass(frozen=True)
class Seen:
    """What one step did to a tensor at the places looked at, [1, N] each."""

    before: Tensor
    after: Tensor
    gradient: Tensor
    by_gradient: Tensor | None  # float64; None where the optimizer's rule is not known
    by_decay: Tensor | None
    dtype: torch.dtype  # of the weights
    growth: float  # how many weights each place stands for


class Groups:
    """Parameters of a model by name, and the group of an optimizer that each is in."""

    def __init__(
        self, model: nn.Module | None, optimizers: Sequence[torch.optim.Optimizer]
    ) -> None:
        self._model, self._optimizers = model, list(optimizers)

    @property
    def are_known(self) -> bool:
        """Whether there is an optimizer, and a module whose parameters it has."""
        return self._model is not None and bool(self._optimizers)

    def named(self, whole: Parameters) -> dict[str, nn.Parameter]:
        """The model's parameters of now, those of the names given."""
        if self._model is None:
            return {}
        named = unwrap(self._model).named_parameters()
        return {
            clean: value
            for name, value in named
            if (clean := clean_name(name)) in whole
        }

    def every(self) -> list[Rule]:
        """Each group, its optimizer, and a key that a resume finds again."""
        return [
            (f"{place}.{number}", optimizer, group)
            for place, optimizer in enumerate(self._optimizers)
            for number, group in enumerate(optimizer.param_groups)
        ]

    def by_identity(self) -> dict[int, Rule]:
        """By identity of a parameter: its group."""
        return {
            id(parameter): one for one in self.every() for parameter in one[2]["params"]
        }


class Look:
    """Keeps weights and gradients before a step, and says afterwards what it did."""

    def __init__(self, groups: Groups, whole: Parameters, num_places: int) -> None:
        """Choose the places.

        Args:
            groups: Of the model.
            whole: Whose names and shapes count.
            num_places: Of each tensor that has more.
        """
        self._groups, self._whole = groups, whole
        self._sample = Sample(whole, num_places)
        self._before: dict[str, tuple[Tensor, Tensor]] = {}

    def before(self) -> None:
        """Keep weights and gradients of the step that is about to be made."""
        own = self._groups.named(self._whole)
        gradients = {n: p.grad for n, p in own.items() if p.grad is not None}
        weights = self.take({name: own[name] for name in gradients})
        taken = self.take(gradients)
        # a sample is a copy already, a small tensor is not
        self._before = {n: (weights[n].clone(), taken[n].clone()) for n in weights}

    def after(self) -> Iterator[tuple[str, Seen]]:
        """Each tensor that had a gradient; nothing where `before` was not called."""
        before, self._before = self._before, {}
        if not before:
            return
        own = self._groups.named(self._whole)
        rules = self._groups.by_identity()
        after = self.take({name: own[name] for name in before if name in own})
        for name, now in after.items():
            was, gradient = before[name]
            if was.shape != now.shape:
                continue
            parts: tuple[Tensor | None, Tensor | None] = (None, None)
            if id(own[name]) in rules:
                _, optimizer, group = rules[id(own[name])]
                state = optimizer.state.get(own[name], {})
                taken = {
                    key: self.take({name: value})[name]
                    for key, value in state.items()
                    if isinstance(value, Tensor) and value.shape == own[name].shape
                }
                parts = split_step(optimizer, group, state, taken, was, gradient)
            growth = self._sample.growth(name)
            yield name, Seen(was, now, gradient, *parts, own[name].dtype, growth)

    def take(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rows [1, N] at the places of the sample."""
        given = {
            name: replace(self._whole[name], values=_real(value)[None])
            for name, value in tensors.items()
        }
        taken = self._sample.take(Parameters(given))
        return {name: one.values.reshape(1, -1) for name, one in taken.items()}

    def growth(self, name: str) -> float:
        """How many weights each place of a tensor stands for."""
        return self._sample.growth(name)


def _real(value: Tensor) -> Tensor:
    """What this process has of it; optimizers step both parts of complex numbers."""
    local = to_local(value.detach())
    return torch.view_as_real(local.resolve_conj()) if local.is_complex() else local
