"""All claims: what each says, how it is tested, and what would refute it.

The page of the claims is made of this and of what the records say. A test of a claim
may say "holds" only where its null value is ruled out, and every claim has something
that would refute it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .claims import NOT_SAID, Claim, correct


@dataclass(frozen=True)
class Statement:
    """A claim as a sentence that numbers can break."""

    says: str
    test: str  # what is measured, of which networks
    null: str  # what it would be if the claim were empty
    refuted: str  # by what


REGISTRY: dict[str, Statement] = {
    "a1": Statement(
        "At the end of training, networks that succeed are nearer to their start than "
        "an independent draw.",
        "Relative distance between the hidden layers at the last epoch, strong "
        "learners, width by width (Student's t)",
        "sqrt 2, an independent draw",
        "a width that ends above sqrt 2",
    ),
    "a2": Statement(
        "Where training succeeds, the weights still show where they started.",
        "Correlation with the start at the last epoch, strong learners, width by width",
        "0, an independent draw",
        "a width at or below 0",
    ),
    "a3": Statement(
        "When the test loss is least, networks are nearer to their start than an "
        "independent draw.",
        "Relative distance at the minimum of the test loss, all that ever learn, width "
        "by width",
        "sqrt 2, an independent draw",
        "a width above sqrt 2",
    ),
    "b": Statement(
        "Where networks lose what they learned, loss and deviation jump together.",
        "Networks whose jumps lie within a window (2 % of the epochs), by change "
        "points, half-heights and steepest rises; binomial, each definition",
        "one half of the networks",
        "fewer than half by each definition",
    ),
    "c": Statement(
        "At equal loss wider networks deviate less per weight, by more than their "
        "starts are smaller.",
        "Exponent of the fall between the hidden layers over at least three widths, at "
        "three losses (Student's t)",
        "1/2, that of Glorot's bound: every weight moves in proportion to its start",
        "an exponent below 1/2",
    ),
    "d": Statement(
        "Weights that start large grow, and where they end is skewed outward.",
        "Mean and skewness of the outward deviation of weights beyond 0.75 of the "
        "bound at the least train loss, width by width",
        "0, no preferred way",
        "a width at which they shrink or are skewed inward",
    ),
    "e1": Statement(
        "There are widths at which networks learn and then lose it again: the train "
        "loss rises above twice its minimum for good.",
        "Number of such networks, both losses shown, and a width at which all are "
        "(binomial)",
        "1 in 100 networks, false alarms",
        "none of at least 11 networks of 75 to 300 units",
    ),
    "e2": Statement(
        "Narrow networks learn too little, wider ones lose it, the widest train for "
        "good: three regimes in this order.",
        "What most networks of a width are, in the order of widths, against all "
        "arrangements (exact)",
        "widths in any order",
        "more pairs of widths in the wrong order than in the right one",
    ),
    "e3": Statement(
        "The end on the plateau needs the clipped loss.",
        "Networks that lose everything with either loss, at the widths run with both "
        "(Fisher, exact)",
        "the same share with both",
        "a larger share with the loss from logits",
    ),
    "f1": Statement(
        "The mark stays readable where training succeeds.",
        "Strong learners whose weights were kept: the right letter scores best of 26 "
        "(pooled detector), above 95 % of twins without a mark",
        "twins: rows and columns permuted; wrong masks: other letters",
        "fewer than half are read",
    ),
    "f2": Statement(
        "The mark is lost where training fails.",
        "The same reader in collapsed networks, after the collapse and before it, "
        "within each network (binomial)",
        "1 in 26, a guess",
        "letters read more often than by guessing",
    ),
    "g1": Statement(
        "Kept in a ball around its start as wide as the way to its best point, "
        "training does not lose what it has found.",
        "Accuracy at the end in the ball minus that of free training, where most free "
        "networks lose it (Student's t, paired)",
        "0, the ball does nothing",
        "more than half lose it in the ball",
    ),
    "g2": Statement(
        "It is the start that the ball must be around.",
        "The same in a ball around zero, as wide as the best point is long",
        "0, the ball around zero does nothing",
        "networks keep it in a ball around zero",
    ),
}


def join_claims(
    paper: Mapping[str, Sequence[Claim]], near: Mapping[str, Sequence[Claim]]
) -> dict[str, list[Claim]]:
    """The claims by data set, corrected within each.

    The runs of the paper's protocol speak of all but (g), smaller trainings near the
    start of (g).
    """
    names = [*paper, *(name for name in near if name not in paper)]
    every = [[*paper.get(name, ()), *near.get(name, ())] for name in names]
    return {
        name: correct([claims])[0] for name, claims in zip(names, every, strict=True)
    }


def list_rows(tests: Mapping[str, Sequence[Claim]]) -> list[dict[str, Any]]:
    """One row a claim of the registry: its words, and a claim or None by data set."""
    return [
        {
            "letter": letter,
            "statement": statement,
            "found": {
                name: next((one for one in claims if one.letter == letter), None)
                for name, claims in tests.items()
            },
        }
        for letter, statement in REGISTRY.items()
    ]


def list_verdicts(tests: Mapping[str, Sequence[Claim]], verdict: str) -> str:
    """`(a2) hasyv2, mnist; (c) hasyv2`: where a verdict was come to."""
    found = []
    for letter in REGISTRY:
        names = [
            name
            for name, claims in tests.items()
            for one in claims
            if (one.letter, one.verdict) == (letter, verdict)
        ]
        found += [f"({letter}) on {', '.join(names)}"] if names else []
    return "; ".join(found) or "none"


_COLUMNS = {
    "networks": "arm",
    "number": "name",
    "mean": "value",
    "low_95": "low",
    "high_95": "high",
    **{name: name for name in ("null", "effect", "p", "n")},
}


def list_evidence(tests: Mapping[str, Sequence[Claim]]) -> list[dict[str, Any]]:
    """Every number behind the verdicts, a row each, for a file."""
    return [
        {
            "claim": claim.letter,
            "data": name,
            **{column: getattr(one, field) for column, field in _COLUMNS.items()},
        }
        for name, claims in tests.items()
        for claim in claims
        for one in claim.evidence
    ]


def is_close(claim: Claim) -> bool:
    """Whether its p-value alone would say something, and that over all does not."""
    return claim.verdict == NOT_SAID and claim.p <= 0.05 < claim.p_holm
