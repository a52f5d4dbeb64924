"""The paper's network of width 150, unmarked, on both backgrounds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from birthmark.spec import RunSpec
from ..abandonment.protocol import PROTOCOLS as ABANDONMENT
from ..abandonment.protocol import spec_of
from ..who_is_abandoned.protocol import PROTOCOLS as WHO


@dataclass(frozen=True)
class Protocol:
    """What one scale trains, once on each background."""

    spec: RunSpec
    pixels: Mapping[str, str]  # how they enter, by background
    kept: tuple[int, ...]  # epochs at which units are looked at

    def spec_of(self, background: str) -> RunSpec:
        """The run on a background; without a mark, which none of its weights needs."""
        return self.spec.with_settings(
            {
                "data.preprocessing": self.pixels[background],
                "mark": None,
                "training.epochs": self.kept[-1],
                "record.epochs": list(self.kept),
                "record.distributions": [],
                "record.weights": list(self.kept),
            }
        )


PROTOCOLS = {
    "full": Protocol(
        WHO["full"].spec,
        {"white": "unit", "black": "inverted"},
        kept=(0, 1, 5, 20),
    ),
    # digits are white on black as they are stored
    "quick": Protocol(
        spec_of(replace(ABANDONMENT["quick"], epochs=6), 0.1),
        {"white": "inverted", "black": "unit"},
        kept=(0, 2, 6),
    ),
}


def describe(protocol: Protocol, facts: dict[str, Any]) -> str:
    """The protocol in words, for captions and the page."""
    spec, training = protocol.spec, protocol.spec.training
    width = spec.network.widths[0]
    return (
        f"{spec.data.name} ({facts['num_examples']} training examples, pixels in [0, "
        "1], as stored on a white background, and inverted on a black one); dense relu "
        f"network {width}-{width}, Glorot uniform, unmarked; loss clipped at "
        f"{training.eps:g}, plain SGD, lr {training.lr:g}, batch "
        f"{training.batch_size}; {spec.run.replicas} replicas; {spec.run.dtype}, seed "
        f"{spec.run.seed}; epochs {', '.join(map(str, protocol.kept))}."
    )
