"""Claim (g), that minima are found only near the start, as statements to break."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from birthmark.analysis import say_number
from birthmark.shapes import Array
from birthmark_experiments.paper.claims import Claim, judge
from birthmark_experiments.paper.evidence import Evidence, weigh, weigh_share

AS_GOOD = 1.25  # times the train loss of free training, at most


@dataclass(frozen=True)
class Kept:
    """Training that was kept in a ball, beside free training."""

    name: str  # which ball
    gain_R: Array  # accuracy at the end, minus that of free training
    lost_R: Array  # whether it lost what it had learned


@dataclass(frozen=True)
class Trials:
    """What the replicas trained by one loss showed."""

    arm: str  # the loss in plain words
    learned_R: Array  # whether free training ever had most of the examples right
    lost_R: Array  # whether free training lost that again
    near: Kept  # in a ball around the start
    ratios: dict[str, Array]  # train loss from a moved start over that from its own
    short: Kept | None = None  # in a ball around zero, if this was tried

    @property
    def moves(self) -> list[Evidence]:
        """From moved starts against the start itself; the first is what counts."""
        return [
            weigh(
                f"ln of the train loss, {how} over unmoved",
                self.arm,
                np.log(ratio_R),
                math.log(AS_GOOD),
            )
            for how, ratio_R in self.ratios.items()
        ]

    def saves(self, kept: Kept) -> bool | None:
        """Whether a ball keeps what free training loses; None: not known."""
        half = len(self.lost_R) / 2
        if self.lost_R.sum() <= half:
            return None  # there was nothing to be kept
        if kept.lost_R.sum() > half:
            return False
        return True if _weigh_gain(self, kept).side == 1 else None


_RULE = (
    "The accuracy at the end of training in the ball minus that of free training, same "
    "starts and batches, against 0, where more than half of the free replicas lose "
    "what they learned. "
)


def find_claims(trials: list[Trials]) -> list[Claim]:
    """All statements, on one data set.

    Args:
        trials: By loss: the clipped one first where there are two.
    """
    return [_claim_near(trials), _claim_center(trials), _claim_moved(trials)]


def _claim_near(trials: list[Trials]) -> Claim:
    return Claim(
        "g1",
        "Kept near its start, in a ball as wide as the way to its best point, training "
        "does not lose what it has found.",
        f"{_RULE}It holds where at most half of the replicas lose it in the ball and "
        "the difference is above 0; it does not hold where more than half lose it.",
        _judge([one.saves(one.near) for one in trials]),
        " ".join(_say_lost(one, one.near) for one in trials),
        tuple(e for one in trials for e in _weigh_kept(one, one.near)),
    )


def _claim_center(trials: list[Trials]) -> Claim:
    tried = [(one, one.short) for one in trials if one.short]
    saved = [one.saves(short) for one, short in tried]
    return Claim(
        "g2",
        "It is the start that the ball must be around: in one around zero, as wide as "
        "the best point is long, training loses what it has found.",
        f"{_RULE}It holds where more than half of the replicas lose it in the ball; it "
        "does not hold where at most half do and the difference is above 0.",
        _judge([None if one is None else not one for one in saved] or [None]),
        " ".join(_say_lost(one, short) for one, short in tried) or "It was not tried.",
        tuple(e for one, short in tried for e in _weigh_kept(one, short)),
    )


def _claim_moved(trials: list[Trials]) -> Claim:
    words = [
        f"With the {one.arm} the lowest train loss from a start that was {how} is "
        f"{_say_ratio(found)}."
        for one in trials
        for how, found in zip(one.ratios, one.moves, strict=True)
    ]
    return Claim(
        "g3",
        "Minima are found only near the start: from a start that is moved as far as "
        "training goes, none as good is found.",
        "The logarithm of the lowest train loss from the moved start over that from "
        f"the unmoved one, against that of {AS_GOOD:g}, where more than half of the "
        "free replicas learn. It holds where it is above, and does not hold where it "
        "is below.",
        _judge([_judge_moved(one) for one in trials]),
        " ".join(words),
        tuple(evidence for one in trials for evidence in one.moves),
    )


def _say_ratio(evidence: Evidence) -> str:
    ends = (evidence.value, evidence.low, evidence.high)
    ratio, low, high = (say_number(math.exp(end)) for end in ends)
    return f"{ratio} times that from the unmoved one (95 % interval {low} to {high})"


def _judge_moved(one: Trials) -> bool | None:
    if one.learned_R.sum() <= len(one.learned_R) / 2:
        return None  # there was no minimum to be as good as
    return {1: True, -1: False}.get(one.moves[0].side)


def _judge(said: list[bool | None]) -> str:
    """Of the clipped loss and that from logits, or of the only one there is."""
    return judge(said[0], said[-1])


def _weigh_gain(one: Trials, kept: Kept) -> Evidence:
    return weigh(
        f"accuracy at the end, {kept.name} minus free", one.arm, kept.gain_R, 0
    )


def _weigh_kept(one: Trials, kept: Kept) -> list[Evidence]:
    return [
        _weigh_gain(one, kept),
        *(
            weigh_share(f"share that lost what it learned, {name}", one.arm, lost_R)
            for name, lost_R in (("free", one.lost_R), (kept.name, kept.lost_R))
        ),
    ]


def _say_lost(one: Trials, kept: Kept) -> str:
    gain = _weigh_gain(one, kept)
    return (
        f"With the {one.arm} {int(one.lost_R.sum())} of {len(one.lost_R)} replicas "
        f"lost what they had learned when free, and {int(kept.lost_R.sum())} "
        f"{kept.name}; the accuracy there is {say_number(gain.value)} higher "
        f"(95 % interval {say_number(gain.low)} to {say_number(gain.high)})."
    )
