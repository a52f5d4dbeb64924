"""What is done to a network that has begun to abandon its examples, and when."""

from dataclasses import dataclass, field, replace
from typing import Any

from birthmark.spec import RunSpec
from ..abandonment.protocol import PROTOCOLS as ABANDONMENT
from ..abandonment.protocol import describe, keep_weights
from .facts import GO_ON


@dataclass(frozen=True)
class Intervention:
    """What is changed at the onset."""

    settings: dict[str, Any] = field(default_factory=dict)
    put_back: tuple[str, ...] = ()  # layers


_LOGITS = {"training.loss": "cross_entropy"}


def list_interventions(lr: float) -> dict[str, Intervention]:
    """All arms by name; what nothing is done to comes first."""
    slow = {"training.lr": 0.1 * lr}
    layers = ("hidden1", "hidden2", "output")
    return {
        GO_ON: Intervention(),
        "loss from logits": Intervention(_LOGITS),
        "lr x 0.1": Intervention(slow),
        "logits and lr x 0.1": Intervention({**_LOGITS, **slow}),
        **{f"{name} put back": Intervention({}, (name,)) for name in layers},
        "all put back": Intervention({}, layers),
    }


@dataclass(frozen=True)
class Protocol:
    """What one scale does."""

    before: str  # scale of the abandonment experiment that network and data come from
    eps: float
    onset: float  # share of abandoned examples in an epoch
    epochs: int  # in which the onset must lie
    every: int  # epochs between two at which an intervention is possible
    more: int  # epochs after it


PROTOCOLS = {
    "full": Protocol("full", 1e-3, onset=0.1, epochs=150, every=5, more=50),
    "quick": Protocol("quick", 0.1, onset=0.02, epochs=10, every=2, more=4),
}


def find_spec(protocol: Protocol) -> RunSpec:
    """The run up to the onset; its weights are kept."""
    return keep_weights(protocol.before, protocol.eps, protocol.epochs, protocol.every)


def describe_rescue(protocol: Protocol, spec: RunSpec, num_examples: int) -> str:
    """The protocol in words, for captions and the page."""
    before = replace(ABANDONMENT[protocol.before], epochs=protocol.epochs)
    share = f"{100 * protocol.onset:g} %"
    return (
        f"{describe(before, num_examples)} Clip {protocol.eps:g}. The onset is the "
        f"first of every {protocol.every} epochs in which {share} of the examples "
        f"were abandoned; from there {protocol.more} epochs in each arm, with the "
        "same order of batches."
    )
