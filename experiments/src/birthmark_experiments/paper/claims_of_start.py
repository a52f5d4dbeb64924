"""Claims about how far from their start the weights end, judged width by width."""

from __future__ import annotations

import math

import numpy as np

from birthmark.analysis import say_number
from birthmark.shapes import Array
from birthmark_experiments.paper.claims import Claim, decide
from birthmark_experiments.paper.evidence import CLIPPED, Arm, Evidence, weigh
from birthmark_experiments.paper.moments_of_training import (
    Moment,
    at_end,
    at_min_test,
    read_at,
)
from birthmark_experiments.paper.words import say_power, say_span

REDRAW = math.sqrt(2)  # relative distance of an independent draw


def claim_nearness(arms: list[Arm]) -> Claim:
    """(a1) Successful training ends nearer to its start than an independent draw."""
    return _claim(arms, "a1", "relative_distance", at_end, REDRAW, -1, ("strong",))


def claim_memory(arms: list[Arm]) -> Claim:
    """(a2) Where training succeeds, the weights still show their start."""
    return _claim(arms, "a2", "correlation", at_end, 0.0, 1, ("strong",))


def claim_best_nearness(arms: list[Arm]) -> Claim:
    """(a3) Where the test loss is least, networks are nearer than a new draw.

    At that time none has failed yet, so all that ever learn are looked at.
    """
    kinds = ("strong", "unstable", "undecided")
    return _claim(arms, "a3", "relative_distance", at_min_test, REDRAW, -1, kinds)


def _claim(
    arms: list[Arm],
    letter: str,
    measure: str,
    moment: Moment,
    null: float,
    side: int,
    kinds: tuple[str, ...],
) -> Claim:
    """A measure of the way from the start against what a new draw would have."""
    by_width = {
        arm.loss: _weigh_widths(arm, measure, moment, null, kinds) for arm in arms
    }
    clipped = by_width.get(CLIPPED, {})
    found = decide(list(clipped.values()), side)
    words = [f"{_say(one)} at {width}" for width, one in clipped.items()]
    because = (
        f"By width: {', '.join(words)}."
        if words
        else "No network of that kind is there."
    )
    evidence = [one for widths in by_width.values() for one in widths.values()]
    counts = [one.n for one in clipped.values()]
    return Claim(
        letter, found.verdict, found.p, because, say_power(counts), tuple(evidence)
    )


def _weigh_widths(
    arm: Arm, measure: str, moment: Moment, null: float, kinds: tuple[str, ...]
) -> dict[int, Evidence]:
    """By width, since two widths are not replicas of each other."""
    found = {}
    for column in arm.columns:
        one = Arm(arm.loss, [column])
        values: Array = one.each(read_at(measure, moment))
        chosen = values[np.isin(one.learners, kinds)]
        name = f"{measure.replace('_', ' ')}, width {column.width}"
        if chosen.size:
            found[column.width] = weigh(name, arm.name, chosen, null)
    return found


def _say(one: Evidence) -> str:
    if one.n < 2:
        return f"{say_number(one.value)} (one network)"
    return f"{say_number(one.value)} ({say_span(one.low, one.high)})"
