"""Which starts are trained, and how much of it is measured."""

from dataclasses import dataclass, field
from typing import Any

from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from ..frame.specs import dense_spec

CONSTANT = 0.01  # of the start whose tie is broken
APART = 0.1  # units are apart where their spread passes this
DROPOUT, SCATTERED, THEORY = "dropout", "scattered sums", "width 1"

STARTS: dict[str, dict[str, Any]] = {
    "constant 0.5": {"name": "constant", "value": 0.5},
    "constant 0.01": {"name": "constant", "value": CONSTANT},
    "zeros": {"name": "zeros"},
    "glorot_uniform": {"name": "glorot_uniform"},
}

END_STARTS = ("constant 0.01", "one random start", "random starts")


@dataclass(frozen=True)
class Protocol:
    """How much of it is measured."""

    data: dict[str, Any] = field(
        default_factory=lambda: {"name": "mnist", "examples_per_class": 500}
    )
    width: int = 32
    batch_size: int = 32
    epochs: int = 60
    end_epochs: int = 40
    replicas: int = 5
    narrow_replicas: int = 10
    narrow_lrs: tuple[float, ...] = (0.03, 0.1, 0.3)
    # relative to the constant
    noises: tuple[float, ...] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 3e-2)
    dropout: float = 0.1


PROTOCOLS = {
    "full": Protocol(),
    "quick": Protocol(
        data={"name": "digits", "examples_per_class": 50},
        width=8,
        batch_size=32,
        epochs=4,
        end_epochs=2,
        replicas=2,
        narrow_replicas=2,
        narrow_lrs=(0.1,),
        noises=(1e-2,),
    ),
}


def spec_of(
    protocol: Protocol, start: dict[str, Any], settings: dict[str, Any] | None = None
) -> RunSpec:
    """The run of a start, with settings of its own."""
    spec = dense_spec(
        protocol,
        initialization=start,
        training={"lr": 0.1},
        record={"distributions": [], "evaluate_train": True},
    )
    return spec.with_settings(settings or {})


def describe(protocol: Protocol, dataset: Dataset, num_pairs: int) -> str:
    """The protocol in words, for captions and the page."""
    width = protocol.width
    return (
        f"{dataset.name}, {len(dataset.y_train)} training and "
        f"{len(dataset.y_test)} test examples, pixels over the full scale; "
        f"{dataset.num_inputs}-{width}-{width}-{dataset.num_classes} "
        "ReLU network, biases zero; cross-entropy, plain SGD, lr 0.1, batch "
        f"{protocol.batch_size}, {protocol.epochs} epochs; {protocol.replicas} "
        "replicas that differ in the order of their batches (paired over the starts), "
        f"float32, seed 0. End points: {protocol.end_epochs} epochs, cosine schedule "
        f"to 0, {num_pairs} pairs of replicas."
    )
