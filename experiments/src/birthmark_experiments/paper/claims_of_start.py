"""Claims about how far from their start the weights end."""

from __future__ import annotations

import math

from birthmark.analysis import say_interval, say_number, say_sentence
from birthmark_experiments.paper.claims import Claim, judge
from birthmark_experiments.paper.evidence import CLIPPED, LOGITS, Arm, Evidence, weigh
from birthmark_experiments.paper.moments_of_training import MOMENTS, at_end, read_at

REDRAW = math.sqrt(2)  # relative distance of an independent draw


def claim_nearness(arms: list[Arm]) -> Claim:
    """(a1) Successful training ends nearer to its start than an independent draw."""
    return _claim_of_start(
        arms,
        "relative_distance",
        REDRAW,
        letter="a1",
        statement="Successful training ends near its start: nearer than an independent "
        "draw of the weights.",
        test="The norm of the deviation over the norm of the start, of the matrix "
        "between the hidden layers, against the square root of 2 of an independent "
        "draw. It holds where the strong learners of each width end below, and does "
        "not where those of one end above.",
        holds_on=-1,
    )


def claim_memory(arms: list[Arm]) -> Claim:
    """(a2) Where training succeeds, the weights still show their start."""
    return _claim_of_start(
        arms,
        "correlation",
        0.0,
        letter="a2",
        statement="Where training succeeds the weights still show where they started.",
        test="The correlation of the weights between the hidden layers with their "
        "initial values, against the 0 of an independent draw. It holds where the "
        "strong learners of each width end above, and does not where those of one end "
        "below.",
        holds_on=1,
    )


def _claim_of_start(
    arms: list[Arm],
    measure: str,
    null: float,
    *,
    letter: str,
    statement: str,
    test: str,
    holds_on: int,
) -> Claim:
    """One measure of the way from the start, of strong learners, against a null."""
    evidence: list[Evidence] = []
    said: dict[str, bool | None] = {}
    words = []
    for arm in arms:
        for kind in ("strong", "unstable"):
            which = arm.learners == kind
            for moment, epoch in MOMENTS.items():
                values = arm.each(read_at(measure, epoch))[which]
                name = f"{measure.replace('_', ' ')} at {moment}, {kind} learners"
                evidence += [weigh(name, arm.name, values, null)] if which.any() else []
        ends = _weigh_ends(arm, measure, null)
        evidence += ends.values()
        # one replica alone has no interval and says nothing
        sides = {end.side for end in ends.values() if end.n > 1}
        said[arm.loss] = _judge_widths(sides, holds_on)
        strong = int((arm.learners == "strong").sum())
        words.append(
            f"with the {arm.name} {strong} of {arm.num_replicas} replicas are strong "
            "learners"
        )
        if ends:
            places = [f"{_say(end)} at width {width}" for width, end in ends.items()]
            words[-1] += f" and end at {', '.join(places)}"
    return Claim(
        letter,
        statement,
        test,
        judge(said.get(CLIPPED), said.get(LOGITS)),
        say_sentence(words),
        tuple(evidence),
    )


def _weigh_ends(arm: Arm, measure: str, null: float) -> dict[int, Evidence]:
    """Ends of strong learners by width: two widths are not replicas of each other."""
    found = {}
    for column in arm.columns:
        one = Arm(arm.loss, [column])
        values = one.each(read_at(measure, at_end))[one.learners == "strong"]
        name = f"{measure.replace('_', ' ')} at the end, strong, width {column.width}"
        if values.size:
            found[column.width] = weigh(name, arm.name, values, null)
    return found


def _judge_widths(sides: set[int], holds_on: int) -> bool | None:
    """Whether all widths are on the side, or one on the other; None: neither."""
    if -holds_on in sides:
        return False
    return True if sides == {holds_on} else None


def _say(end: Evidence) -> str:
    if end.n < 2:
        return f"{say_number(end.value)} (one replica)"
    return f"{say_number(end.value)} ({say_interval(end.low, end.high)})"
