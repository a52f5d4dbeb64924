"""Under which conditions the network that collapses is trained."""

from dataclasses import dataclass, replace

from ..abandonment.protocol import PROTOCOLS as ABANDONMENT
from ..abandonment.protocol import describe

LOSSES = {"clipped": {}, "logits": {"training.loss": "cross_entropy"}}


@dataclass(frozen=True)
class Condition:
    """One way to train: where from, where to stay.

    Kinds: `free`; in a `ball` around the start; of limited `norm`, in a ball around
    zero; from a `moved` start; from a `shrunk` one: moved, and as long as before.
    """

    loss: str  # of `LOSSES`
    kind: str
    size: float = 0.0  # over the way to the best point; of `norm`, over the norm there

    @property
    def name(self) -> str:
        """Such as `clipped ball 0.5`."""
        return f"{self.loss} {self.kind}" + (f" {self.size:g}" if self.size else "")


@dataclass(frozen=True)
class Protocol:
    """What one scale measures."""

    # scale of the abandonment experiment that network and data come from
    before: str = "full"
    eps: float = 1e-3
    epochs: int = 130
    kept: int = 5  # epochs between two at which weights are looked at
    every: int = 10  # steps after which a network is put back into its ball
    # on the line: 0 the start, 1 the end
    alphas: tuple[float, ...] = tuple(round(-0.5 + 0.1 * i, 1) for i in range(26))
    arms: tuple[Condition, ...] = (
        Condition("clipped", "free"),
        *(Condition("clipped", "ball", size) for size in (0.5, 0.75, 1.0, 1.25)),
        Condition("clipped", "norm", 1.0),
        *(Condition("clipped", "moved", size) for size in (0.5, 1.0)),
        Condition("clipped", "shrunk", 1.0),
        Condition("logits", "free"),
        *(Condition("logits", k, 1.0) for k in ("ball", "norm", "moved", "shrunk")),
    )


PROTOCOLS = {
    "full": Protocol(),
    "quick": Protocol(
        before="quick",
        eps=0.01,
        epochs=20,
        kept=2,
        every=3,
        alphas=(-0.5, 0.0, 1.0, 2.0),
        arms=(
            Condition("clipped", "free"),
            *(Condition("clipped", "ball", size) for size in (1.0, 1000.0)),
            Condition("clipped", "norm", 0.5),
            *(Condition("clipped", k, 1.0) for k in ("moved", "shrunk")),
            Condition("logits", "free"),
            *(Condition("logits", k, 1.0) for k in ("ball", "moved")),
        ),
    ),
}


def describe_arms(protocol: Protocol, num_examples: int) -> str:
    """The protocol in words, for captions and the page."""
    before = replace(ABANDONMENT[protocol.before], epochs=protocol.epochs)
    return (
        f"{describe(before, num_examples)} Clip {protocol.eps:g}, or the loss from "
        f"logits. Weights were kept every {protocol.kept} epochs; the best point of a "
        "replica is the kept one with the lowest train loss. A network is put back "
        f"into its ball after every {protocol.every} steps."
    )
