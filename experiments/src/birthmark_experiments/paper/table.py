"""The table of the claims: the registry beside what each data set says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from birthmark_experiments.paper.claims import NOT_SAID, Claim, correct
from birthmark_experiments.paper.registry import REGISTRY


def join_claims(
    paper: Mapping[str, Sequence[Claim]], near: Mapping[str, Sequence[Claim]]
) -> dict[str, list[Claim]]:
    """The claims by data set, (g) among them, corrected within each data set.

    Args:
        paper: What the runs of the paper's protocol say.
        near: What the smaller trainings near the start say, of (g).
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


def list_evidence(tests: Mapping[str, Sequence[Claim]]) -> list[dict[str, Any]]:
    """Every number behind the verdicts, a row each, for a file."""
    return [
        {
            "claim": claim.letter,
            "data": name,
            "networks": one.arm,
            "number": one.name,
            "mean": one.value,
            "low_95": one.low,
            "high_95": one.high,
            "null": one.null,
            "effect": one.effect,
            "p": one.p,
            "n": one.n,
        }
        for name, claims in tests.items()
        for claim in claims
        for one in claim.evidence
    ]


def is_close(claim: Claim) -> bool:
    """Whether its p-value alone would say something, and that over all does not."""
    return claim.verdict == NOT_SAID and claim.p <= 0.05 < claim.p_holm
