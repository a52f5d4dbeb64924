"""What a tracker sees of a model beside its weights: who can move, who never will.

Nothing of it is a threshold: a tensor has moved or it has not, to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import xarray as xr
from torch import nn

from birthmark.measurements import clean_name, find_held, unwrap
from birthmark.shapes import Finding, Parameters
from birthmark.wording import say_names

_LISTED = 5  # names in one sentence


class Observations:
    """Gradients that came, parameters that were added, replaced or taken away."""

    def __init__(
        self, model: nn.Module | None, optimizers: Sequence[torch.optim.Optimizer]
    ) -> None:
        self._model, self._optimizers = model, list(optimizers)
        self._identities: dict[str, int] = {}
        self._with_gradient: set[str] = set()
        # by name: the step at which it was first seen
        self._added: dict[str, int] = {}
        self._replaced: dict[str, int] = {}
        self._removed: dict[str, int] = {}
        self._nonfinite: dict[str, int] = {}
        self._told: set[tuple[str, tuple[str, ...]]] = set()

    def begin(self) -> None:
        """Remember which tensors the model has."""
        self._identities = {name: id(value) for name, value in self._own().items()}

    def take_in(self, step: int, current: Parameters, whole: Parameters) -> Parameters:
        """The tensors that there were at the start; NaN where one is gone or reshaped.

        Args:
            step: Steps made.
            current: The tensors that there are now.
            whole: Names and shapes at the start.
        """
        own = self._own()
        self._with_gradient |= {n for n, p in own.items() if p.grad is not None}
        for name, value in own.items():
            if self._identities.get(name, id(value)) != id(value):
                self._replaced.setdefault(name, step)
        for name in current:
            if name not in whole:
                self._added.setdefault(name, step)
        device = next(iter(current.values())).values.device
        seen = {}
        for name, before in whole.items():
            now = current.get(name)
            if now is None or now.values.shape != before.values.shape:
                self._removed.setdefault(name, step)
                nothing = torch.full((), torch.nan, device=device)
                now = replace(before, values=nothing.expand(before.values.shape))
            seen[name] = now
        return Parameters(seen)

    def findings(self, step: int, found: xr.Dataset) -> tuple[Finding, ...]:
        """What asks for attention, of what was measured at a step."""
        distance = found["distance"].isel(replica=0)
        names = [str(name) for name in found["parameter"].values]
        still = [n for n, far in zip(names, distance.values, strict=True) if far == 0]
        count = found["nonfinite_count"].isel(replica=0).values
        for name, bad in zip(names, count, strict=True):
            if bad > 0 and name not in self._removed:
                self._nonfinite.setdefault(name, step)
        findings = []
        if self._nonfinite:
            findings.append(_nonfinite(self._nonfinite))
        if step > 0:
            findings += [
                _still(reason, [n for n in still if self._reason(n) == reason])
                for reason in dict.fromkeys(self._reason(name) for name in still)
            ]
        moved_by_none = [name for name in self._missing() if name not in still]
        if moved_by_none:
            findings.append(_missing(moved_by_none))
        for verb, which in (
            ("added", self._added),
            ("replaced", self._replaced),
            ("removed", self._removed),
        ):
            if which:
                findings.append(_changed(verb, which))
        return tuple(findings)

    def news(
        self, step: int, found: xr.Dataset, others: Sequence[Finding] = ()
    ) -> tuple[Finding, ...]:
        """Findings, these and others, that were not told before."""
        new = []
        for finding in (*self.findings(step, found), *others):
            key = (finding.name, finding.where)
            if key not in self._told:
                self._told.add(key)
                new.append(finding)
        return tuple(new)

    def state_dict(self) -> dict[str, Any]:
        """Plain values from which `load_state_dict` goes on."""
        return {
            "with_gradient": sorted(self._with_gradient),
            "added": dict(self._added),
            "replaced": dict(self._replaced),
            "removed": dict(self._removed),
            "nonfinite": dict(self._nonfinite),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know what was known where `state_dict` was taken."""
        self._with_gradient = set(state["with_gradient"])
        self._added, self._replaced = dict(state["added"]), dict(state["replaced"])
        self._removed = dict(state["removed"])
        self._nonfinite = dict(state["nonfinite"])

    def _own(self) -> dict[str, nn.Parameter]:
        if self._model is None:
            return {}
        named = unwrap(self._model).named_parameters()
        return {clean_name(name): value for name, value in named}

    def _missing(self) -> tuple[str, ...]:
        """Trainable parameters that no optimizer holds."""
        if self._model is None or not self._optimizers:
            return ()
        return find_held(self._model, *self._optimizers).missing

    def _reason(self, name: str) -> str:
        """Why a tensor is where it was, as far as it can be told."""
        value = self._own().get(name)
        if value is None:
            return "no reason is known"
        if not value.requires_grad:
            return "frozen (requires_grad is False)"
        if name in self._missing():
            return "in no group of the optimizer"
        if name not in self._with_gradient and value.grad is None:
            return "no gradient has reached it: it is unused, or cut off"
        groups = [group for one in self._optimizers for group in one.param_groups]
        for group in groups:
            if any(value is one for one in group["params"]) and not group.get("lr", 1):
                return "the learning rate of its group is 0"
        grad = value.grad
        # of a shard it would be that of this process alone
        if grad is not None and not hasattr(grad, "to_local") and not bool(grad.any()):
            return "its gradient is exactly 0"
        if value.itemsize <= 2:
            dtype = str(value.dtype).removeprefix("torch.")
            return f"its updates are lost in the rounding of {dtype}, or are 0"
        return "its updates are 0"


def _still(reason: str, names: Sequence[str]) -> Finding:
    count = "1 tensor has" if len(names) == 1 else f"{len(names)} tensors have"
    return Finding(
        what=f"{count} not moved: {say_names(names, _LISTED)}. Why: {reason}",
        why="what does not move is not trained",
        how="the L2 norm of the deviation is exactly 0",
        level="note" if reason.startswith("frozen") else "warning",
        name="still",
        where=tuple(names),
        advice=_ADVICE.get(reason.partition(" ")[0], ""),
    )


# by the first word of the reason
_ADVICE = {
    "in": "give model.parameters() to the optimizer, after the model is complete",
    "no": "look whether the forward pass uses it",
    "the": "set the learning rate of that group",
}


def _missing(names: Sequence[str]) -> Finding:
    return Finding(
        what=f"moved, but in no group of the optimizer: {say_names(names, _LISTED)}",
        why="something else than this optimizer writes to it",
        how="the optimizer's groups hold other tensors",
        level="note",
        name="missing",
        where=tuple(names),
    )


def _nonfinite(first: Mapping[str, int]) -> Finding:
    names = sorted(first, key=lambda name: (first[name], name))
    return Finding(
        what=f"NaN or Inf in {say_names(names, _LISTED)}, seen at step "
        f"{min(first.values())}",
        why="from there on nothing is learned",
        how="entries that are not finite, at recorded steps",
        level="error",
        name="nonfinite",
        where=tuple(names),
        advice="go back to a checkpoint before that step, with a smaller learning rate",
    )


def _changed(verb: str, which: Mapping[str, int]) -> Finding:
    names = list(which)
    after = {
        "added": "it has no start here, and is not measured",
        "replaced": "another tensor has its name: its distance is from the old one",
        "removed": "it is gone or has another shape, and is NaN from there on",
    }[verb]
    return Finding(
        what=f"{verb} after the start: {say_names(names, _LISTED)}, seen at step "
        f"{min(which.values())}: {after}",
        why="the model is not the one that the run began with",
        how="names and identities of its parameters at recorded steps",
        level="note",
        name=verb,
        where=tuple(names),
        advice="an optimizer made before holds the old tensors"
        if verb != "removed"
        else "",
    )
