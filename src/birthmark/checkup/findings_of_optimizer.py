"""Findings about the optimizer: what it lacks, and how far its first step goes."""

from __future__ import annotations

import math
from collections.abc import Iterator

from birthmark.checkup.readings import CheckUp
from birthmark.checkup.thresholds import LARGE_UPDATE
from birthmark.shapes import Finding
from birthmark.wording import have, say_names, say_others


def outside_the_optimizer(checkup: CheckUp) -> Iterator[Finding]:
    """Parameters that want to be trained, and that the optimizer does not have."""
    if not checkup.has_optimizer:
        return
    missing = [t for t in checkup.tensors if t.trainable and t.is_optimized is False]
    if missing:
        names = tuple(t.name for t in missing)
        share = sum(t.size for t in missing) / max(checkup.num_parameters, 1)
        yield Finding(
            what=f"The optimizer does not have {say_names(names)} ({share:.0%} of the "
            "parameters), which have requires_grad True.",
            why="They get gradients and never move.",
            how="parameters of the model compared with the optimizer's, by identity",
            level="warning",
            values={"share": share},
            name="outside_the_optimizer",
            where=names,
            advice="Add them to a group, or set requires_grad_(False). Was the "
            "optimizer made before a layer was replaced?",
        )


def unregistered_parameters(checkup: CheckUp) -> Iterator[Finding]:
    """Layers in plain lists, and tensors that are no `nn.Parameter`."""
    names = checkup.circuits.unregistered
    if names:
        yield Finding(
            what=f"{say_names(names)} {have(names, 'works', 'work')} in the forward "
            f"pass, but {have(names, 'is no parameter', 'are no parameters')} of the "
            "model.",
            why="model.parameters() does not list them: they are not trained, not "
            "saved, and not moved to a device.",
            how="leaves of autograd that a plain attribute holds, and named_parameters "
            "does not",
            source="torch.nn.ModuleList",
            level="warning",
            values={"tensors": float(len(names))},
            name="unregistered_parameters",
            where=names,
            advice="Keep layers in a ModuleList or ModuleDict, and tensors as "
            "nn.Parameter.",
        )


def first_updates(checkup: CheckUp) -> Iterator[Finding]:
    """The optimizer's first step against the size of each tensor."""
    ratios = {
        t.name: t.update / math.hypot(t.std, t.mean)
        for t in checkup.tensors
        if t.update is not None and t.role in ("weight", "embedding") and t.std > 0
    }
    large = {name: ratio for name, ratio in ratios.items() if ratio > LARGE_UPDATE}
    if large:
        worst = max(large, key=lambda name: large[name])
        yield Finding(
            what=f"The first update changes {worst} by {large[worst]:.3g} times its "
            f"own size{say_others(large, worst)}.",
            why="After one step nothing is left of the initialization.",
            how="root mean square of the update of a fresh optimizer of the same kind "
            f"and settings, over that of the tensor; line at {LARGE_UPDATE:g}",
            source="Yang et al. 2203.03466",
            level="warning",
            values={"ratio": large[worst]},
            name="large_update",
            where=tuple(sorted(large, key=lambda name: -large[name])),
            advice=f"Divide the learning rate of {worst} by about "
            f"{large[worst] / 0.01:.0e}, or warm up.",
        )
    resolution = {"float16": 2**-11, "bfloat16": 2**-8}
    lost = {
        t.name: ratios[t.name]
        for t in checkup.tensors
        if t.name in ratios
        and t.gradient
        and ratios[t.name] < resolution.get(t.dtype, 2**-24) / 4
    }
    if lost:
        worst = min(lost, key=lambda name: lost[name])
        yield Finding(
            what=f"The first update of {worst} is {lost[worst]:.1e} of its size, below "
            f"what its number format resolves{say_others(lost, worst)}.",
            why="Added to the weights it is rounded away: the tensor does not move.",
            how="root mean square of the first update over that of the tensor, line at "
            "a quarter of the format's spacing",
            source="Micikevicius et al. 1710.03740, section 3.1",
            level="warning",
            values={"ratio": lost[worst]},
            name="lost_update",
            where=tuple(lost),
            advice="Raise the learning rate, or keep a float32 copy of the weights.",
        )


OPTIMIZER_FINDINGS = (
    outside_the_optimizer,
    unregistered_parameters,
    first_updates,
)
