"""Findings about units: silent on the whole batch, or driven to their flat ends."""

from __future__ import annotations

import math
from collections.abc import Iterator

from birthmark.checkup.advice import rule_for
from birthmark.checkup.readings import CheckUp, LayerReading
from birthmark.checkup.thresholds import (
    ERRORS,
    FRESH_UNITS,
    LARGE_SHARE,
    SATURATED,
    SYMMETRIC_DEAD,
    share_error,
)
from birthmark.shapes import Finding
from birthmark.wording import say_names


def dead_units(checkup: CheckUp) -> Iterator[Finding]:
    """Units that are silent on the whole batch, beyond what chance explains."""
    dead, silent = [], []
    for layer in checkup.layers:
        if is_dead(layer):
            dead.append(layer)
        elif (layer.dead or 0) > LARGE_SHARE and layer.input:
            silent.append(layer)
    if dead:
        worst = max(dead, key=lambda layer: layer.dead or 0)
        yield Finding(
            what=_say_silent(dead, worst, "more than chance leaves"),
            why="A ReLU that is never above 0 has no gradient and does not learn.",
            how=_how_silent(worst) + ", line at four standard errors",
            source="Lu et al. 1903.06733",
            level="error" if worst.dead == 1 else "warning",
            values={"share": worst.dead or 0, "expected": _silent_by_chance(worst)},
            name="dead_units",
            where=tuple(layer.name for layer in dead),
            advice="Look at the biases (0 or slightly positive), at the sign and mean "
            "of the weights, and at the mean of the inputs.",
        )
    if silent:
        worst = max(silent, key=lambda layer: layer.dead or 0)
        yield Finding(
            what=_say_silent(silent, worst, "as fresh units would be"),
            why="Inputs arrive there almost the same, so that a unit is on or off for "
            "all of them; off it has no gradient.",
            how=_how_silent(worst),
            source="Lu et al. 1903.06733; Poole et al. 1606.05340",
            level="note",
            values={"share": worst.dead or 0, "expected": _silent_by_chance(worst)},
            name="silent_units",
            where=tuple(layer.name for layer in silent),
            advice="Nothing in the draw; fewer layers, norms or residual branches keep "
            "inputs apart.",
        )


def is_dead(layer: LayerReading) -> bool:
    """Whether more units are silent on the batch than chance explains."""
    share, count = layer.dead or 0.0, layer.num_units or 1
    null = _silent_by_chance(layer)
    error = math.hypot(share_error(null, count), share_error(null, FRESH_UNITS))
    return share > 0 and share > null + ERRORS * error


def _silent_by_chance(layer: LayerReading) -> float:
    return SYMMETRIC_DEAD if layer.dead_expected is None else layer.dead_expected


def _say_silent(layers: list[LayerReading], worst: LayerReading, how: str) -> str:
    count = worst.num_units or 1
    silent = round((worst.dead or 0) * count)
    others = [layer.name for layer in layers if layer is not worst]
    more = f"; so are many of {say_names(others)}" if others else ""
    return (
        f"{silent} of {count} units of layer {worst.name} are silent on the whole "
        f"batch, {how}{more}."
    )


def _how_silent(layer: LayerReading) -> str:
    share = f"share {layer.dead:.0%}"
    if layer.dead_expected is None:
        return f"{share}; expected at most half under any symmetric law"
    expected = f"{layer.dead_expected:.0%}"
    if layer.role == "norm":
        return f"{share}; expected {expected}, as each channel has the mean 0"
    return f"{share}; expected {expected}, from {FRESH_UNITS} fresh units on its inputs"


def saturated_units(checkup: CheckUp) -> Iterator[Finding]:
    """Tanh and sigmoid driven to their flat ends."""
    for layer in checkup.layers:
        if layer.saturated is not None and layer.saturated > SATURATED:
            yield Finding(
                what=f"{layer.saturated:.0%} of the outputs of layer {layer.name} "
                f"drive {layer.activation} into saturation.",
                why="There the slope is below 1 % of the largest: the gradient stops.",
                how="share with |slope| below 1 %, line at one half",
                source="Glorot & Bengio 2010",
                level="warning",
                values={"share": layer.saturated},
                name="saturated_units",
                where=(layer.name,),
                advice=f"{rule_for([layer])}, or make the inputs smaller.",
            )


UNIT_FINDINGS = (dead_units, saturated_units)
