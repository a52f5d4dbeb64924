"""Claim (g), that minima are found only near the start, as two statements to break."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from birthmark.analysis import (
    Claim,
    Evidence,
    judge,
    say_number,
    weigh,
    weigh_share,
)
from birthmark.shapes import Array

AS_GOOD = 1.25  # times the train loss of free training, at most


@dataclass(frozen=True)
class Trials:
    """What the replicas trained by one loss showed, each array [R]."""

    arm: str  # the loss in plain words
    learned_R: Array  # whether free training ever had most of the examples right
    radius: float  # of the ball, over the distance that free training goes
    kept_R: Array  # accuracy at the end: in the ball, minus free
    lost_free_R: Array  # whether free training lost what it had learned
    lost_ball_R: Array  # whether training in the ball did
    ratios: dict[str, Array]  # train loss from a moved start over that from its own

    @property
    def ends(self) -> Evidence:
        """In the ball against free training."""
        name = f"accuracy at the end, in the ball of {self.radius:g}, minus free"
        return weigh(name, self.arm, self.kept_R, 0.0)

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


def find_claims(trials: list[Trials]) -> list[Claim]:
    """Both statements, on one data set.

    Args:
        trials: By loss: the clipped one first where there are two.
    """
    return [_claim_leaving(trials), _claim_only_near(trials)]


def _claim_leaving(trials: list[Trials]) -> Claim:
    evidence: list[Evidence] = []
    words = []
    for one in trials:
        evidence += [
            one.ends,
            weigh_share(
                "share that lost what it learned, free", one.arm, one.lost_free_R
            ),
            weigh_share(
                "share that lost what it learned, in the ball", one.arm, one.lost_ball_R
            ),
        ]
        words.append(
            f"With the {one.arm} {int(one.lost_free_R.sum())} of {len(one.kept_R)} "
            f"replicas lost what they had learned when free and "
            f"{int(one.lost_ball_R.sum())} in the ball."
        )
    return Claim(
        "g1",
        "What training finds lies near its start, and is lost by leaving: kept in a "
        "ball as wide as the way to its best point, training does not lose it.",
        "The accuracy at the end of training in the ball minus that of free training, "
        "same starts and batches, against 0. It holds where more than half of the free "
        "replicas lose what they learned, at most half do in the ball, and the "
        "difference is above 0; it does not hold where more than half do in the ball.",
        _judge([_judge_leaving(one) for one in trials]),
        " ".join(words),
        tuple(evidence),
    )


def _claim_only_near(trials: list[Trials]) -> Claim:
    words = []
    for one in trials:
        found = one.moves[0]
        words.append(
            f"With the {one.arm} the train loss from the moved start is "
            f"{say_number(math.exp(found.value))} times that from the unmoved one "
            f"(95 % interval {say_number(math.exp(found.low))} to "
            f"{say_number(math.exp(found.high))})."
        )
    return Claim(
        "g2",
        "Minima are found only near the start: from a start that is moved as far as "
        "training goes, none as good is found.",
        "The logarithm of the lowest train loss from the moved start over that from "
        f"the unmoved one, against that of {AS_GOOD:g}. It holds where it is above, "
        "and does not hold where it is below; both where more than half of the free "
        "replicas learn.",
        _judge([_judge_only_near(one) for one in trials]),
        " ".join(words),
        tuple(evidence for one in trials for evidence in one.moves),
    )


def _judge_leaving(one: Trials) -> bool | None:
    half = len(one.kept_R) / 2
    if one.lost_free_R.sum() <= half:
        return None  # there was nothing to be prevented
    if one.lost_ball_R.sum() > half:
        return False
    return True if one.ends.side == 1 else None


def _judge_only_near(one: Trials) -> bool | None:
    if one.learned_R.sum() <= len(one.learned_R) / 2:
        return None  # there was no minimum to be as good as
    return {1: True, -1: False}.get(one.moves[0].side)


def _judge(said: list[bool | None]) -> str:
    """Of the clipped loss and that from logits, or of the only one there is."""
    return judge(said[0], said[-1])
