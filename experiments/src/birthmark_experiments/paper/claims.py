"""The claims of Jesus et al. (arXiv 2012.02550), and how a verdict is come by.

Each claim stands in the registry with its test, the null value of that test, what
would refute it, and what the networks at hand could show at all (its power). A verdict
rests on the p-value of the test that decides it; over all claims and data sets these
are held to 5 % together by Holm's procedure, so that a claim whose own p-value does
not survive this cannot be said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from birthmark.statistics import ALPHA, holm
from birthmark_experiments.paper.evidence import Evidence

HOLDS = "holds"
DEPENDS = "depends on the width"
DOES_NOT_HOLD = "does not hold"
NOT_SAID = "cannot be said"
VERDICTS = (HOLDS, DEPENDS, DOES_NOT_HOLD, NOT_SAID)


@dataclass(frozen=True)
class Finding:
    """What one test says: a verdict, and the p-value that it rests on."""

    verdict: str  # one of VERDICTS
    p: float  # NaN where nothing was tested


NOTHING = Finding(NOT_SAID, math.nan)


@dataclass(frozen=True)
class Claim:
    """What records say of one claim of the registry."""

    letter: str  # of the registry: `a1` ... `g2`
    verdict: str  # one of VERDICTS
    p: float  # of the deciding test by itself; NaN: nothing was tested
    because: str  # the verdict in a sentence or two, with what limits it
    power: str  # what the networks at hand could have shown
    evidence: tuple[Evidence, ...] = ()
    p_holm: float = math.nan  # over all claims that were tested together


def decide(places: Sequence[Evidence], side: int) -> Finding:
    """What the tests of several widths say of a claim about each of them.

    That all lie on the predicted side is an intersection-union test: the largest
    p-value is that of the claim (Berger 1982). That some do not needs correction for
    having looked at all: Holm.

    Args:
        places: One a width; what has no p-value (a single replica) says nothing.
        side: 1 where the claim says "above the null value", -1 below.
    """
    known = [one for one in places if math.isfinite(one.p)]
    if not known:
        return NOTHING
    raw = np.array([one.p for one in known])
    agree = np.array([np.sign(one.value - one.null) == side for one in known])
    if agree.all():
        largest = float(raw.max())
        return Finding(HOLDS if largest <= ALPHA else NOT_SAID, largest)
    adjusted = holm(raw)
    against = float(adjusted[~agree].min())
    if against > ALPHA:
        return Finding(NOT_SAID, against)
    least_for = float(adjusted[agree].min()) if agree.any() else math.nan
    if least_for <= ALPHA:
        return Finding(DEPENDS, max(against, least_for))
    return Finding(DOES_NOT_HOLD, against)


def correct(families: Sequence[Sequence[Claim]]) -> list[list[Claim]]:
    """The same claims, with p-values over all of them and the verdicts that survive.

    Args:
        families: The claims by data set.
    """
    every = [claim for claims in families for claim in claims]
    tested = [place for place, one in enumerate(every) if math.isfinite(one.p)]
    adjusted = holm([every[place].p for place in tested])
    for place, p in zip(tested, adjusted, strict=True):
        one = every[place]
        stands = p <= ALPHA or one.verdict == NOT_SAID
        every[place] = replace(
            one, p_holm=float(p), verdict=one.verdict if stands else NOT_SAID
        )
    left = iter(every)
    return [[next(left) for _ in claims] for claims in families]
