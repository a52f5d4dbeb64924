"""Which starts are compared, and on which networks what they keep is read."""

from dataclasses import dataclass
from typing import Any

from birthmark.shapes import Dataset
from birthmark.spec import RunSpec

RANDOM = ("glorot_uniform", "he_normal", "orthogonal", "signed_constant")
DETERMINISTIC = ("dct", "sobol", "hadamard", "zero_hadamard")
PERMUTED = "dct, pixels permuted"  # the same matrix, blind to where a pixel lies

# its singular values are all 1, as those of dct and hadamard are: the same but chance
REFERENCE = "orthogonal"

_MNIST = {"name": "mnist", "examples_per_class": 1000}
_TRAINING = {"loss": "cross_entropy", "lr": 0.05, "batch_size": 64}


@dataclass(frozen=True)
class Protocol:
    """How much of it is measured."""

    spec: RunSpec
    starts: tuple[str, ...]
    num_images: int  # test images whose distances and moves are looked at
    few: RunSpec  # so few examples that their span is small
    few_starts: tuple[str, ...]
    gates: RunSpec
    widths: tuple[int, ...]


def find_protocol(scale: str) -> Protocol:
    """The protocol of a scale."""
    full = scale == "full"
    epochs = 6 if full else 3
    spec = RunSpec(
        data=_MNIST if full else {"name": "digits"},
        network={"widths": [128, 128] if full else [16, 16]},
        training={**_TRAINING, "epochs": epochs},
        run={"replicas": 8 if full else 3, "device": "cpu"},
        record={"distributions": [], "weights": [epochs]},
    )

    def smaller(examples: int, epochs: int) -> RunSpec:
        length = {"data.examples_per_class": examples, "training.epochs": epochs}
        record = {"record.epochs": [], "record.weights": [epochs]}
        replicas = {"run.replicas": 5 if full else 3}
        return spec.with_settings({**length, **record, **replicas})

    law = {"initialization": {"name": "lecun_normal"}}
    return Protocol(
        spec=spec,
        starts=(
            (*RANDOM, *DETERMINISTIC, PERMUTED)
            if full
            else ("orthogonal", "dct", PERMUTED)
        ),
        num_images=500 if full else 100,
        few=smaller(30, 20) if full else smaller(3, 10),
        few_starts=("glorot_uniform", "dct"),
        gates=(smaller(300, 4) if full else smaller(30, 2)).with_settings(
            {**law, "record.weights_layers": ["hidden1"]}
        ),
        widths=(32, 64, 128, 256, 512, 1024) if full else (16, 64),
    )


def list_specs(
    spec: RunSpec, starts: tuple[str, ...], permuted: str = ""
) -> dict[str, RunSpec]:
    """A run for each start; that of `PERMUTED` is read from a file."""
    rules: dict[str, dict[str, Any]] = {name: {"name": name} for name in starts}
    if PERMUTED in rules:
        rules[PERMUTED] = {"name": "checkpoint", "file": permuted}
    return {
        name: spec.with_settings({"initialization": rule})
        for name, rule in rules.items()
    }


def describe(protocol: Protocol, dataset: Dataset) -> str:
    """The protocol in words, for captions and the page."""
    spec, training = protocol.spec, protocol.spec.training
    widths = "-".join(map(str, spec.network.widths))
    return (
        f"{dataset.name}, {len(dataset.y_train)} training and {len(dataset.y_test)} "
        f"test examples, pixels over the full scale; dense ReLU network of widths "
        f"{widths}, biases zero; cross-entropy, plain SGD, lr {training.lr:g}, batch "
        f"{training.batch_size}, {training.epochs} epochs; {spec.run.replicas} "
        "replicas, paired by the order of their batches; float32, seed 0. Few "
        f"examples: {protocol.few.data.examples_per_class} a class, "
        f"{protocol.few.training.epochs} epochs, {protocol.few.run.replicas} replicas. "
        "Gates: one hidden layer, lecun_normal, "
        f"{protocol.gates.data.examples_per_class} examples a class, "
        f"{protocol.gates.training.epochs} epochs, "
        f"{protocol.gates.run.replicas} replicas."
    )


PROTOCOLS = {scale: find_protocol(scale) for scale in ("full", "quick")}
STANDARD = "standard"

# learning rates in the parametrization's own terms, the same at every width
NTK_LRS = {"ntk": 20.0, "ntk, a tenth of the rate": 2.0}
MOMENTS = ("start", "end")
MOVES = ("initial null space", "final null space", "any direction")
