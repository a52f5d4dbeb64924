"""The paper's network of width 150, and from which epoch examples are left out."""

from dataclasses import dataclass
from typing import Any

from birthmark.spec import RunSpec
from ..who_is_abandoned.protocol import PROTOCOLS as WHO


@dataclass(frozen=True)
class Protocol:
    """What one scale trains."""

    spec: RunSpec  # with all examples
    early: int  # examples that are below the clip then, in all replicas, are left out
    replicas: int  # of those of the run, the first ones, that are trained without them
    epochs: int  # of these
    every: int  # epochs between two measurements of the deviation

    @property
    def look(self) -> RunSpec:
        """The run with all examples up to the epoch at which each is looked at."""
        return self.spec.with_settings(
            {
                "training.epochs": self.early,
                "record.epochs": [0, self.early],
                "record.distributions": [],
                "record.weights": [self.early],
            }
        )


def _choose(scale: str, replicas: int, epochs: int, every: int) -> Protocol:
    spec = WHO[scale].spec.with_settings({"record.weights": []})
    return Protocol(spec, WHO[scale].early, replicas, epochs, every)


PROTOCOLS = {
    "full": _choose("full", replicas=1, epochs=600, every=10),
    "quick": _choose("quick", replicas=2, epochs=8, every=2),
}


def describe(protocol: Protocol, facts: dict[str, Any]) -> str:
    """The protocol in words, for captions and the page."""
    spec, training = protocol.spec, protocol.spec.training
    width = spec.network.widths[0]
    return (
        f"{spec.data.name} ({facts['num_examples']} training examples, pixels in [0, "
        f"1], white background); dense relu network {width}-{width}, Glorot uniform; "
        f"loss clipped at {training.eps:g}, plain SGD, lr {training.lr:g}, batch "
        f"{training.batch_size}; {spec.run.dtype}, seed {spec.run.seed}. Left out are "
        f"the {facts['num_left_out']} examples whose label has a probability below the "
        f"clip at epoch {protocol.early} in all {spec.run.replicas} replicas. Each "
        "replica has the same start with and without them, and visits the others in "
        f"the same order; {protocol.epochs} epochs."
    )
