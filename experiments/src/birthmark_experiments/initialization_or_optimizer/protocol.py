"""Which starts are trained by which optimizers, and how their rates are found."""

import math
from dataclasses import dataclass, field
from typing import Any

from birthmark.data import describe_dataset
from birthmark.spec import RunSpec
from ..frame.specs import dense_spec, list_starts, standardized

SEED = 0
SEARCH_SEED = 1000
LEVELS = (0.25, 0.1)  # of the loss of a guess; the second is what the search looks at

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"optimizer": "sgd"},
    "momentum": {"optimizer": "sgd", "momentum": 0.9},
    "Adam": {"optimizer": "adam"},
}


@dataclass(frozen=True)
class Protocol:
    """What one scale measures."""

    data: str = "mnist"
    examples_per_class: int = 100
    width: int = 100
    depth: int = 6  # hidden layers
    batch_size: int = 32
    epochs: int = 16
    replicas: int = 5
    starts: tuple[str, ...] = (
        *("torch_default", "lecun_normal", "glorot_uniform", "he_uniform"),
        *("he_normal", "orthogonal", "looks_linear", "lsuv"),
    )
    # by optimizer, where the search looks
    lrs: dict[str, tuple[float, ...]] = field(
        default_factory=lambda: {
            "SGD": (0.01, 0.03, 0.1, 0.3),
            "momentum": (0.001, 0.003, 0.01, 0.03),
            "Adam": (0.0001, 0.0003, 0.001, 0.003),
        }
    )


PROTOCOLS = {
    "full": Protocol(),
    "quick": Protocol(
        data="digits",
        examples_per_class=40,
        width=24,
        depth=2,
        batch_size=16,
        epochs=4,
        replicas=2,
        starts=("glorot_uniform", "he_normal"),
        lrs={"SGD": (0.03, 0.1), "momentum": (0.01,), "Adam": (0.003,)},
    ),
}


def spec_of(
    protocol: Protocol, start: str, optimizer: str, lr: float, *, search: bool = False
) -> RunSpec:
    """A run of one start and optimizer; one replica of another seed in the search."""
    rule = next(one.rule for one in list_starts() if one.name == start)
    return dense_spec(
        protocol,
        data=standardized(protocol),
        initialization=rule,
        training={**OPTIMIZERS[optimizer], "lr": lr},
        run={"replicas": 1, "seed": SEARCH_SEED} if search else {"seed": SEED},
        record={"distributions": (0,), "evaluate_train": True},
    )


def find_levels(protocol: Protocol) -> tuple[float, ...]:
    """The losses to be reached, in nats."""
    guess = math.log(describe_dataset(protocol.data).num_classes)
    return tuple(share * guess for share in LEVELS)


def describe(p: Protocol) -> str:
    """The protocol in words, for captions and the page."""
    lrs = "; ".join(f"{name} {', '.join(map(str, lr))}" for name, lr in p.lrs.items())
    return (
        f"{p.data}, the first {p.examples_per_class} training examples of each class, "
        f"pixels standardized; dense network, {p.depth} hidden layers of {p.width} "
        "units, relu; biases zero unless the rule has its own; cross-entropy; batch "
        f"{p.batch_size}, {p.epochs} epochs; momentum 0.9; Adam's betas 0.9 and 0.999; "
        f"{p.replicas} replicas, of which replica r meets the same batches in every "
        f"cell; float32; seed {SEED}. The training loss is that of the whole training "
        "set at the end of each epoch; between two of them it is taken to fall "
        f"exponentially. Learning rates were chosen on seed {SEARCH_SEED}, one "
        f"replica of every second start, from: {lrs}."
    )
