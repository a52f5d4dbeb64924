"""The paper's network of width 150, and the epochs at which its curvature is read."""

from dataclasses import dataclass

from birthmark.spec import RunSpec
from birthmark.sweeps import preset
from ..sharpness.protocol import LOSSES, describe_readings


@dataclass(frozen=True)
class Protocol:
    """What one scale trains and measures."""

    spec: RunSpec  # but for its loss and its record
    looks: dict[str, tuple[int, ...]]  # epochs after which to look, by loss
    sample: int  # examples of the sharpness, the same for all
    batches: int  # of a batch sharpness


PROTOCOLS = {
    "full": Protocol(
        spec=preset("paper", width=150, mark=False).with_settings(
            {"mark.text": "a", "run.replicas": 3, "run.device": "cpu"}
        ),
        looks={
            "clipped": (160, 350, 490, 530, 590),
            "logits": (160, 355, 490, 530, 990),
        },
        sample=4096,
        batches=16,
    ),
    "quick": Protocol(
        spec=RunSpec(
            data={"name": "digits", "preprocessing": "inverted"},
            network={"widths": [8, 8]},
            training={"epochs": 4, "lr": 0.3, "eps": 0.05},
            run={"replicas": 2, "device": "cpu"},
        ),
        looks={"clipped": (0, 1, 3), "logits": (0, 1, 2)},
        sample=300,
        batches=4,
    ),
}


def spec_of(protocol: Protocol, loss: str) -> RunSpec:
    """The run of a loss; its weights are kept at the looks."""
    looks, changed = protocol.looks[loss], {"training.loss": LOSSES[loss]}
    kept = {"record.epochs": looks, "record.weights": looks}
    return protocol.spec.with_settings(
        {**changed, **kept, "record.distributions": (0,)}
    )


def describe(protocol: Protocol, num_examples: int) -> str:
    """The protocol in words, for captions and the page."""
    spec, training = protocol.spec, protocol.spec.training
    widths = "-".join(map(str, spec.network.widths))
    return (
        f"{spec.data.name} ({num_examples} training images), white background, pixels "
        f"in [0, 1]; dense relu network {widths}, Glorot uniform; cross-entropy "
        f"clipped at {training.eps:g}, or from logits; plain SGD, lr {training.lr:g}, "
        f"batch {training.batch_size}, {training.epochs} epochs; {spec.run.replicas} "
        "replicas, paired by start and order of batches; float32, seed "
        f"{spec.run.seed}. Sharpness: of the loss of {protocol.sample} training "
        f"images, {describe_readings(protocol.batches)}"
    )
