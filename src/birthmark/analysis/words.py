"""How numbers, intervals and lists are said in a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from birthmark.statistics import Estimate

REDRAW = "(a re-draw: 1.41)"  # how far an independent second draw is, sqrt 2


def say_number(value: float, digits: int = 3) -> str:
    """A number to some significant digits, without an exponent where that is short."""
    if not math.isfinite(value):
        return "unknown"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        decimals = digits - 1 - math.floor(math.log10(abs(value))) if value else 0
        return f"{value:.{max(decimals, 0)}f}"
    return f"{value:.{digits - 1}e}"


def say_interval(low: float, high: float) -> str:
    """`95 % interval 0.1 to 0.2`, or that there is none."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "no interval: too few replicas"
    if low == high:
        return "no interval: all are equal"
    return f"95 % interval {say_number(low)} to {say_number(high)}"


def say_estimate(estimate: Estimate) -> str:
    """`0.15 (95 % interval 0.1 to 0.2, n = 5)`."""
    span = say_interval(estimate.low, estimate.high)
    return f"{say_number(estimate.mean)} ({span}, n = {estimate.n})"


def say_share(count: int, known: int, total: int, noun: str = "networks") -> str:
    """`3 of 5 networks`; of how many more it is not known is never left out."""
    unknown = f" (not known of {total - known} more)" if known < total else ""
    return f"{count} of {known} {noun}{unknown}"


def say_list(items: Sequence[str]) -> str:
    """`a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"
