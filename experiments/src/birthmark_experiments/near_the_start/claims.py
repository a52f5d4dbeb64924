"""Claim (g), that minima are found only near the start, as statements to break.

Whether minima are found from a start that was moved far away is no test of it: a moved
start is another random start, near which there may be minima as well. That stands on
the page as what it is, without a verdict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

from birthmark.analysis import say_number
from birthmark.shapes import Array
from birthmark.statistics import ALPHA
from birthmark_experiments.paper.claims import DOES_NOT_HOLD, HOLDS, NOT_SAID, Claim
from birthmark_experiments.paper.evidence import Evidence, weigh, weigh_share
from birthmark_experiments.paper.words import say_power


@dataclass(frozen=True)
class Kept:
    """Training that was kept in a ball, beside free training."""

    name: str  # which ball
    gain_R: Array  # accuracy at the end, minus that of free training
    lost_R: Array  # whether it lost what it had learned

    @property
    def p_lost(self) -> float:
        """Whether more than half lose it: the exact binomial test."""
        k, n = int(self.lost_R.sum()), len(self.lost_R)
        return float(stats.binomtest(k, n, 0.5, "greater").pvalue)


@dataclass(frozen=True)
class Trials:
    """What the replicas trained by one loss showed."""

    arm: str  # the loss in plain words
    lost_R: Array  # whether free training lost what it had learned
    near: Kept  # in a ball around the start
    short: Kept | None = None  # in a ball around zero, if this was tried

    def saves(self, kept: Kept) -> bool | None:
        """Whether a ball keeps what free training loses; None: not known."""
        half = len(self.lost_R) / 2
        if self.lost_R.sum() <= half:
            return None  # there was nothing to be kept
        if kept.lost_R.sum() > half:
            return False if kept.p_lost <= ALPHA else None
        return True if _weigh_gain(self, kept).side == 1 else None

    def p_of(self, kept: Kept) -> float:
        """P of the test that `saves` rests on; NaN where it says nothing."""
        saved = self.saves(kept)
        if saved is None:
            return math.nan
        return _weigh_gain(self, kept).p if saved else kept.p_lost


def find_claims(trials: list[Trials]) -> list[Claim]:
    """Both statements, on one data set.

    Args:
        trials: By loss; the verdicts are those of the first.
    """
    first = trials[0]
    centre = first.short
    return [
        _claim("g1", trials, first.near, first.saves(first.near)),
        _claim("g2", trials, centre, _not(first.saves(centre)) if centre else None),
    ]


def _claim(
    letter: str, trials: list[Trials], kept: Kept | None, said: bool | None
) -> Claim:
    if kept is None:
        return Claim(letter, NOT_SAID, math.nan, "It was not tried.", "none")
    balls = [(one, one.near if letter == "g1" else one.short) for one in trials]
    tried = [(one, ball) for one, ball in balls if ball is not None]
    verdict = {True: HOLDS, False: DOES_NOT_HOLD, None: NOT_SAID}[said]
    return Claim(
        letter,
        verdict,
        trials[0].p_of(kept),
        " ".join(_say_lost(one, ball) for one, ball in tried),
        say_power([len(trials[0].lost_R)]),
        tuple(evidence for one, ball in tried for evidence in _weigh_kept(one, ball)),
    )


def _not(said: bool | None) -> bool | None:
    return None if said is None else not said


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
        f"With the {one.arm} {int(one.lost_R.sum())} of {len(one.lost_R)} networks "
        f"lost what they had learned when free, and {int(kept.lost_R.sum())} "
        f"{kept.name}; the accuracy there is {say_number(gain.value)} higher "
        f"(95 % interval {say_number(gain.low)} to {say_number(gain.high)})."
    )
