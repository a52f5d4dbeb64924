"""Which parameters of a model an optimizer holds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from birthmark.measurements.parameters import clean_name, unwrap


@dataclass(frozen=True)
class Held:
    """Parameters of a model by whether an optimizer will move them."""

    groups: dict[str, int]  # name of each parameter held: index of its group
    missing: tuple[str, ...]  # trainable, and in no group: they will never move
    frozen: tuple[str, ...]  # do not ask for a gradient


def find_held(model: nn.Module, *optimizers: torch.optim.Optimizer) -> Held:
    """What optimizers hold of a model, told by the tensors themselves, not by names.

    Groups are counted through all of them. A tensor with several names (tied) stands
    under the first. A parameter that was replaced after the optimizer was made is
    missing.
    """
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    group_of = {
        id(parameter): index
        for index, group in enumerate(groups)
        for parameter in group["params"]
    }
    own = {clean_name(name): value for name, value in unwrap(model).named_parameters()}
    held = {n: group_of[id(p)] for n, p in own.items() if id(p) in group_of}
    return Held(
        groups=held,
        missing=tuple(
            name for name, p in own.items() if p.requires_grad and name not in held
        ),
        frozen=tuple(name for name, p in own.items() if not p.requires_grad),
    )
