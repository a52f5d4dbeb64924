"""What a tracker sees beside the weights: steps, gradients, losses of a probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import xarray as xr
from torch import nn

from birthmark.errors import SpecError
from birthmark.shapes import Finding, Parameters
from birthmark.tracking.dead_units import DeadUnits
from birthmark.tracking.looks import Groups
from birthmark.tracking.observations import Observations
from birthmark.tracking.probes import Evaluate, Probe
from birthmark.tracking.readers import Model
from birthmark.tracking.starts import Start
from birthmark.tracking.steps import Steps


class Watch:
    """Looks at a model and its optimizers around steps, and says what it found."""

    def __init__(
        self,
        model: Model,
        optimizers: Sequence[torch.optim.Optimizer],
        *,
        attribute: bool,
        probe: Evaluate | None,
        is_sampled: bool,
    ) -> None:
        """Look at nothing yet.

        Args:
            model: A module, or a function of which only the weights are known.
            optimizers: That step its parameters.
            attribute: Whether to add up what made the whole deviation, at every step.
            probe: A loss on a batch that stays the same.
            is_sampled: Whether the start is kept as a sample alone.

        Raises:
            SpecError: The model cannot be probed.
        """
        module = model if isinstance(model, nn.Module) else None
        if probe is not None and is_sampled:
            raise SpecError(
                "probe= needs the whole start: keep='cpu' or 'file', not 'sample'"
            )
        self._seen = Observations(module, optimizers)
        self._steps = Steps(module, optimizers, attribute=attribute)
        self._groups, self._dead = Groups(module, optimizers), DeadUnits()
        self._probe = None if probe is None else Probe(model, probe, optimizers)

    def begin(self, whole: Parameters) -> None:
        """Choose where to look; names and shapes count."""
        self._whole = whole
        self._seen.begin()
        self._steps.begin(whole)

    def before(self, *, is_recorded: bool) -> None:
        """Right before a step."""
        self._steps.before(is_recorded=is_recorded)
        if self._probe is not None and is_recorded:
            self._probe.before()

    def count(self) -> None:
        """Right after each step."""
        self._steps.count()

    def current(self, step: int, now: Parameters) -> Parameters:
        """The tensors that there were at the start, as they are now."""
        return self._seen.take_in(step, now, self._whole)

    def recorded(self, step: int, start: Start) -> tuple[dict[str, Any], Any]:
        """What is known of a recorded step: facts for `measure`, and numbers of it."""
        facts: dict[str, Any] = {}
        if self._steps.is_watching:
            facts["steps"] = self._steps.look_after()
            if step > 0:  # the gradients at the start are those of the first step
                self._dead.take_in(self._groups.named(self._whole), self._whole)
        if self._probe is None:
            return facts, {}
        if step == 0:
            self._probe.begin()
        numbers = self._probe.after()
        initial = {name: one.values[0] for name, one in start.parameters.items()}
        return {**facts, "signals": self._probe.signals(initial)}, numbers

    def facts(self) -> dict[str, Any]:
        """What is known between two records, for `measure`."""
        return {"steps": self._steps.present()}

    def findings(self, step: int, found: xr.Dataset) -> tuple[Finding, ...]:
        """What asks for attention, of what was measured at a step."""
        return (*self._seen.findings(step, found), *self._others())

    def news(self, step: int, found: xr.Dataset) -> tuple[Finding, ...]:
        """The same, what was not told before."""
        if not {"distance", "nonfinite_count"} <= set(found.data_vars):
            return ()
        return self._seen.news(step, found, self._others())

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors from which `load_state_dict` goes on."""
        return {
            "seen": self._seen.state_dict(),
            "steps": self._steps.state_dict(),
            "dead": self._dead.state_dict(),
            "probe": None if self._probe is None else self._probe.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know what was known where `state_dict` was taken."""
        self._seen.load_state_dict(state["seen"])
        self._steps.load_state_dict(state["steps"])
        # states of before have neither
        self._dead.load_state_dict(state.get("dead", {}))
        if self._probe is not None and state.get("probe"):
            self._probe.load_state_dict(state["probe"])

    def _others(self) -> tuple[Finding, ...]:
        return (*self._steps.findings(), *self._dead.findings())
