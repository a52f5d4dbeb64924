"""Which network is trained, and where around its way it is looked at."""

from dataclasses import dataclass, field
from typing import Any

from birthmark.spec import RunSpec
from ..frame.specs import dense_spec


@dataclass(frozen=True)
class Protocol:
    """What one scale measures."""

    data: dict[str, Any] = field(
        default_factory=lambda: {"name": "mnist", "examples_per_class": 300}
    )
    width: int = 100
    epochs: int = 40
    replicas: int = 5
    # on the line: 0 the start, 1 the end
    alphas: tuple[float, ...] = tuple(round(-0.5 + 0.05 * i, 2) for i in range(51))
    # of the ball, over the distance of free training
    radii: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
    # lengths of the random step, likewise
    moves: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)


PROTOCOLS = {
    "full": Protocol(),
    "quick": Protocol(
        data={"name": "digits", "examples_per_class": 30},
        width=16,
        epochs=4,
        replicas=3,
        alphas=(-0.5, 0.0, 0.5, 1.0, 2.0),
        radii=(0.3, 1.0),
        moves=(1.0,),
    ),
}


def spec_of(protocol: Protocol) -> RunSpec:
    """The free training, from which all else is measured."""
    return dense_spec(
        protocol,
        training={"lr": 0.1, "batch_size": 64},
        record={"epochs": (0,), "distributions": ()},
    )


def describe(protocol: Protocol, spec: RunSpec, num_examples: int) -> str:
    """The protocol in words, for captions and the page."""
    training, width = spec.training, protocol.width
    return (
        f"{protocol.data['name']}, {protocol.data['examples_per_class']} examples a "
        f"class ({num_examples} in all), pixels in [0, 1]; dense relu network "
        f"{width}-{width}, Glorot uniform; cross-entropy from logits, plain SGD, lr "
        f"{training.lr:g}, batch {training.batch_size}, {training.epochs} epochs; "
        f"{protocol.replicas} replicas, paired by start and order of batches; float32, "
        "seed 0."
    )
