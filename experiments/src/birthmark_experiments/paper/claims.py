"""The claims of Jesus et al. (arXiv 2012.02550), tested on records."""

from __future__ import annotations

from dataclasses import dataclass

from birthmark_experiments.paper.evidence import Evidence

HOLDS = "holds"
CLIPPED_ONLY = "holds only with the clipped loss"
DOES_NOT_HOLD = "does not hold"
NOT_SAID = "cannot be said from these records"
VERDICTS = (HOLDS, CLIPPED_ONLY, DOES_NOT_HOLD, NOT_SAID)


@dataclass(frozen=True)
class Claim:
    """A claim as a statement that numbers can break, and what they say."""

    letter: str  # `a` ... `f`
    statement: str
    test: str  # the statistic, its null value, and when the claim holds
    verdict: str  # one of VERDICTS
    because: str  # the verdict in a sentence, with what limits it
    evidence: tuple[Evidence, ...]


def judge(clipped: bool | None, logits: bool | None) -> str:
    """The verdict from what the replicas of either loss say; None: nothing."""
    if clipped is None:
        return NOT_SAID
    if not clipped:
        return DOES_NOT_HOLD
    return CLIPPED_ONLY if logits is False else HOLDS
