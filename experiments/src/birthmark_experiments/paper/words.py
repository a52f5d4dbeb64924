"""How pages about the paper say what may be missing, beyond, or partly there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from birthmark.analysis import say_interval, say_number

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


def say_epochs(estimate: Mapping[str, Any], replicas: int) -> str:
    """A mean epoch, and in how many of the replicas it was seen if not in all."""
    if not estimate["n"]:
        return "never"
    some = "" if estimate["n"] == replicas else f" ({estimate['n']} of {replicas})"
    return f"{estimate['mean']:.0f}{some}"


def say_span(low: float, high: float) -> str:
    """`0.1 to 0.2`, or a dash."""
    known = math.isfinite(low) and math.isfinite(high)
    return f"{say_number(low)} to {say_number(high)}" if known else DASH


def say_p(p: float) -> str:
    """A p-value; those below 0.0001 by that bound."""
    if not math.isfinite(p):
        return DASH
    return "< 0.0001" if p < 1e-4 else say_number(p, 2)


SAYINGS = {
    "say": say_number,
    "say_or_dash": say_or_dash,
    "say_epoch": say_epoch,
    "say_epochs": say_epochs,
    "say_interval": say_interval,
    "say_mean": say_mean,
    "say_p": say_p,
    "say_published": say_published,
    "say_span": say_span,
}
