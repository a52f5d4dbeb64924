"""Which examples are left out of which training."""

from dataclasses import dataclass, replace
from typing import Any

from birthmark.spec import RunSpec
from ..abandonment.protocol import PROTOCOLS as ABANDONMENT
from ..abandonment.protocol import describe, spec_of
from .facts import ALL, KINDS


@dataclass(frozen=True)
class Protocol:
    """What one scale trains: all examples, and without shares of both kinds."""

    before: str  # scale of the abandonment experiment that network and data come from
    spec: RunSpec  # with all examples
    early: int  # the epoch at which it is seen who is hard
    shares: tuple[float, ...]  # of the examples that are left out

    @property
    def arms(self) -> dict[str, tuple[str, float]]:
        """Kind and share of those left out, by name; nobody comes first."""
        return {ALL: ("", 0.0)} | {
            f"{kind}, {100 * share:g} %": (kind, share)
            for share in self.shares
            for kind in KINDS
        }


def _choose(scale: str, eps: float, epochs: int, **fields: Any) -> Protocol:
    shorter = replace(ABANDONMENT[scale], epochs=epochs)
    return Protocol(scale, spec_of(shorter, eps), **fields)


PROTOCOLS = {
    "full": _choose("full", 1e-3, 200, early=50, shares=(0.01, 0.1)),
    "quick": _choose("quick", 0.1, 8, early=3, shares=(0.1,)),
}


def describe_arms(protocol: Protocol, num_examples: int) -> str:
    """The protocol in words, for captions and the page."""
    training = protocol.spec.training
    before = replace(ABANDONMENT[protocol.before], epochs=training.epochs)
    return (
        f"{describe(before, num_examples)} Clip {training.eps:g}. The hardest are "
        f"those with the largest loss at epoch {protocol.early}, a mean over the "
        "replicas trained with all examples. A replica has the same start in all "
        "arms, and visits those that are left in the same order."
    )
