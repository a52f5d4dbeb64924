"""How pages about the paper say what may be missing, beyond, or partly there."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from birthmark.analysis import say_interval, say_number
from birthmark.shapes import Array
from birthmark.statistics import ALPHA, detectable_effect
from ..statistics import Survival

DASH = "–"


def say_or_dash(value: float) -> str:
    """A number, or a dash where there is none."""
    return say_number(value) if math.isfinite(value) else DASH


def say_epoch(value: float) -> str:
    """A whole epoch, or a dash."""
    return f"{value:.0f}" if math.isfinite(value) else DASH


def say_published(value: float) -> str:
    """As it was read: `> 1000` for what lies beyond, a dash for what is not there."""
    if math.isinf(value):
        return "> 1000"
    return f"{value:g}" if math.isfinite(value) else DASH


def say_mean(estimate: Mapping[str, Any]) -> str:
    """`0.90 (95 % interval 0.89 to 0.92, n = 3)`, of an estimate as a dict."""
    if not estimate["n"]:
        return "not seen"
    span = say_interval(estimate["low"], estimate["high"])
    return f"{say_number(estimate['mean'])} ({span}, n = {estimate['n']})"


def say_epochs(one: Mapping[str, Any]) -> str:
    """A mean epoch; where some were watched in vain, the product-limit median."""
    if not one["ours"]["n"]:
        return "never"
    if one["ours"]["n"] == one["replicas"]:
        return f"{one['ours']['mean']:.0f}"
    return f"median {say_survival(Survival(**one['seen']))}"


def say_ours(one: Mapping[str, Any]) -> str:
    """A mean with its interval, or what is known where some were watched in vain."""
    if one["ours"]["n"] in (0, one["replicas"]):
        return say_mean(one["ours"])
    return say_epochs(one)


def say_span(low: float, high: float) -> str:
    """`0.1 to 0.2`, or a dash."""
    known = math.isfinite(low) and math.isfinite(high)
    return f"{say_number(low)} to {say_number(high)}" if known else DASH


def say_p(p: float) -> str:
    """A p-value; those below 0.0001 by that bound."""
    if not math.isfinite(p):
        return DASH
    return "< 0.0001" if p < 1e-4 else say_number(p, 2)


def say_power(counts: Sequence[int]) -> str:
    """What Student's test of so many replicas a width sees with a power of 80 %."""
    enough = [n for n in counts if n > 1]
    if not enough:
        return "none: no two networks to compare"
    least, most = min(enough), max(enough)
    effect = detectable_effect(least, ALPHA)
    span = f"{least}" if least == most else f"{least} to {most}"
    return f"n = {span} a width: from {effect:.1f} standard deviations on"


def say_lags(lags: Array) -> str:
    """`-5 to 0 epochs`: the least and the largest."""
    known = lags[np.isfinite(lags)]
    if not len(known):
        return "not seen"
    return f"{known.min():.0f} to {known.max():.0f} epochs"


def say_survival(found: Survival) -> str:
    """`255 (3 of 3)`; `> 1000 (1 of 3)` where fewer than half met it; or `none`."""
    if not found.seen:
        return "none"
    middle = f"{found.median:.0f}" if math.isfinite(found.median) else ""
    return f"{middle or f'> {found.until:.0f}'} ({found.seen} of {found.n})"


_EACH = (
    *(say_or_dash, say_epoch, say_epochs, say_interval, say_mean, say_ours, say_p),
    *(say_published, say_span, say_survival),
)
SAYINGS = {"say": say_number} | {one.__name__: one for one in _EACH}
