"""What to do about a plain chain: the layer at fault, or the activation's rule."""

from __future__ import annotations

import math
from collections.abc import Iterable

from birthmark.checkup.readings import LayerReading
from birthmark.checkup.thresholds import TRAINABLE


def energy(layer: LayerReading) -> float:
    """Sum of squares of one example's gradient over all numbers of a layer."""
    return (layer.backward or 0.0) * layer.size


# what keeps second moments, forward, for each activation: its rule
_RULES = {
    "tanh": "a variance of 1 / fan_in (lecun_normal; glorot for equal widths)",
    "sigmoid": "glorot_normal with gain 4, or another activation: sigmoids shrink all",
    "relu": "a variance of 2 / fan_in (he_normal) and biases 0",
    "leaky_relu": "a variance of 2 / (1 + slope^2) / fan_in (he_normal) and biases 0",
    "gelu": "a variance near 2 / fan_in (he_normal)",
    "silu": "a variance near 2.8 / fan_in",
    "elu": "a variance of 1.55 / fan_in",
}
_LINEAR_RULE = "a variance of 1 / fan_in (lecun_normal), or orthogonal matrices"


def advise_chain(chain: list[LayerReading], end: int, *, forward: bool) -> str:
    """One layer at fault, where there is one; else the rule of the activation."""
    passed = chain[: end + 1] if forward else chain[end:]
    steps = {
        after.name: math.log(_size(after, forward)) - math.log(_size(before, forward))
        for before, after in zip(passed, passed[1:], strict=False)
        if _size(before, forward) > 0 and _size(after, forward) > 0
    }
    if steps:
        middle = sorted(steps.values())[len(steps) // 2]
        worst = max(steps, key=lambda name: abs(steps[name] - middle))
        rest = sum(steps.values()) - steps[worst]
        if abs(rest) < TRAINABLE / 2 < abs(steps[worst]):
            return (
                f"Look at {worst}: it alone changes the "
                f"{'signal' if forward else 'gradient'} by e^{steps[worst]:+.1f}, the "
                f"other {len(steps)} layers by e^{rest:+.1f}."
            )
    return f"{rule_for(chain)}, or put norms between."


def rule_for(layers: Iterable[LayerReading]) -> str:
    """How to draw weights for the activation that most of these layers have."""
    names = [layer.activation for layer in layers if layer.activation]
    common = max(sorted(set(names)), key=names.count) if names else ""
    rule = _RULES.get(common, _LINEAR_RULE)
    return f"{f'Behind {common} draw' if common else 'Draw'} weights with {rule}"


def _size(layer: LayerReading, forward: bool) -> float:
    return layer.forward if forward else energy(layer)
