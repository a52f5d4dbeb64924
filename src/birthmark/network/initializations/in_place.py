"""Initializing a torch module in place, with overrides by name."""

from collections.abc import Mapping

import torch
from torch import nn

from birthmark.errors import SpecError
from birthmark.network.initializations.drawing import Rule, draw_target
from birthmark.network.initializations.slots import Slot, find_slots
from birthmark.network.initializations.table import find_law_for
from birthmark.network.initializations.target import to_layout
from birthmark.network.laws import Law
from birthmark.spec import make_rule, match_pattern


def draw_module_(
    module: nn.Module,
    rule: Rule,
    *,
    seed: int = 0,
    replica: int = 0,
    bias: Rule = "zeros",
    overrides: Mapping[str, Rule] | None = None,
) -> dict[str, Law]:
    """Draw parameters of a module, as `initialize_` does for rules without a batch.

    All laws are found before the first number is written.

    Returns:
        By name of parameter: the law from which it was drawn.

    Raises:
        SpecError: A rule does not fit, a pattern matches nothing, or parameters are
            not there yet (lazy modules, meta device).
    """
    slots = find_slots(module, replica)
    overrides = overrides or {}
    laws = {}
    unused = set(overrides)
    for name, slot in slots.items():
        pattern = match_pattern(name, overrides)
        if pattern is not None:
            unused.discard(pattern)
            chosen: Rule | None = overrides[pattern]
        elif slot.has_weights:
            chosen = bias
        else:
            chosen = None if slot.stays else rule
        if chosen is not None:
            laws[name] = find_law_for(make_rule(chosen), slot.target)
    if unused:
        raise SpecError(
            f"no parameter is named {min(unused)!r}: known are {', '.join(slots)}"
        )
    for name, law in laws.items():
        _fill(slots[name], law, seed)
    return laws


def _fill(slot: Slot, law: Law, seed: int) -> None:
    values = torch.from_numpy(to_layout(draw_target(law, slot.target, seed=seed), "OI"))
    if slot.inputs_first and values.ndim > 1:
        values = values.transpose(0, 1)
    with torch.no_grad():
        slot.write(values)
