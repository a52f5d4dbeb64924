"""The runs behind the page about sharpness: three ways to enter pixels, several lr."""

from dataclasses import dataclass, field
from typing import Any

from birthmark.spec import RunSpec
from ..abandonment.protocol import SHARE
from ..frame.specs import dense_spec

LOSSES = {"clipped": "clipped_cross_entropy", "logits": "cross_entropy"}
_INPUTS = {"white": "unit", "black": "inverted", "centred": "standardized"}
_SLOW, _FAST = (0.05, 0.1, 0.2, 0.4), (0.1, 0.2, 0.4, 0.8)
_LRS: dict[str, dict[str, tuple[float, ...]]] = {
    "clipped": {"white": _SLOW, "black": _FAST, "centred": _SLOW},
    "logits": {"white": (0.1, 0.2), "black": (0.4, 0.8), "centred": (0.2, 0.4)},
}


@dataclass(frozen=True)
class Budget:
    """How long to train at a learning rate, and where to look at the curvature."""

    epochs: int
    looks: tuple[int, ...]


@dataclass(frozen=True)
class Protocol:
    """What one scale trains and measures."""

    data: dict[str, Any] = field(default_factory=lambda: SHARE)
    # their preprocessing, by the background that it gives
    inputs: dict[str, str] = field(default_factory=lambda: _INPUTS)
    width: int = 100
    batch_size: int = 32
    eps: float = 1e-3
    replicas: int = 5
    # by loss and input, around the edge
    lrs: dict[str, dict[str, tuple[float, ...]]] = field(default_factory=lambda: _LRS)
    long: Budget = Budget(120, (0, 1, 5, 20, 40, 80, 120))  # lr up to `slow`
    short: Budget = Budget(40, (0, 1, 5, 20, 40))
    slow: float = 0.1
    # input and lr that are looked at more often
    focus: tuple[str, float] = ("white", 0.1)
    focus_looks: tuple[int, ...] = (2, 10, *range(60, 120, 5))
    sample: int = 2048  # examples of the sharpness, the same for all
    batches: int = 32  # of a batch sharpness


@dataclass(frozen=True)
class Condition:
    """One setting, of `replicas` networks."""

    pixels: str
    lr: float
    loss: str

    @property
    def name(self) -> str:
        """Of its results, such as `white 0.1 clipped`."""
        return f"{self.pixels} {self.lr:g} {self.loss}"


PROTOCOLS = {
    "full": Protocol(),
    "quick": Protocol(
        data={"name": "digits", "examples_per_class": 40},
        inputs={"white": "inverted", "black": "unit", "centred": "standardized"},
        width=16,
        batch_size=16,
        eps=0.1,
        replicas=3,
        lrs={
            "clipped": {"white": (0.1, 0.3), "black": (0.1, 0.3), "centred": (0.1,)},
            "logits": {"white": (0.3,)},
        },
        long=Budget(6, (0, 1, 5, 6)),
        short=Budget(5, (0, 1, 2, 5)),
        slow=0.1,
        focus=("white", 0.3),
        focus_looks=(3,),
        sample=200,
        batches=4,
    ),
}


def list_arms(protocol: Protocol) -> list[Condition]:
    """All settings, by loss, input and learning rate."""
    return [
        Condition(pixels, lr, loss)
        for loss, by_input in protocol.lrs.items()
        for pixels, lrs in by_input.items()
        for lr in lrs
    ]


def find_looks(protocol: Protocol, arm: Condition) -> tuple[int, ...]:
    """The epochs after which the curvature of an arm is measured."""
    budget = _find_budget(protocol, arm)
    more = protocol.focus_looks if (arm.pixels, arm.lr) == protocol.focus else ()
    return tuple(sorted({*budget.looks, *more}))


def spec_of(protocol: Protocol, arm: Condition) -> RunSpec:
    """The run of an arm; all arms share starts and orders of batches."""
    looks = find_looks(protocol, arm)
    return dense_spec(
        protocol,
        data={**protocol.data, "preprocessing": protocol.inputs[arm.pixels]},
        training={
            "loss": LOSSES[arm.loss],
            "eps": protocol.eps,
            "lr": arm.lr,
            "epochs": _find_budget(protocol, arm).epochs,
        },
        record={"epochs": looks, "distributions": (0,), "weights": looks},
    )


def _find_budget(protocol: Protocol, arm: Condition) -> Budget:
    return protocol.long if arm.lr <= protocol.slow else protocol.short


def describe(protocol: Protocol, num_examples: int) -> str:
    """The protocol in words, for captions and the page."""
    data, width = protocol.data, protocol.width
    classes = f"the first {data['classes']} classes of " if "classes" in data else ""
    return (
        f"{classes}{data['name']}, at most {data['examples_per_class']} examples a "
        f"class ({num_examples} in all); pixels in [0, 1] with a white or a black "
        "background, or centred (minus the mean over all pixels and images, over their "
        f"standard deviation); dense relu network {width}-{width}, Glorot uniform; "
        f"plain SGD, batch {protocol.batch_size}; cross-entropy clipped at "
        f"{protocol.eps:g}, or from logits; lr up to {protocol.slow:g}: "
        f"{protocol.long.epochs} epochs, above: {protocol.short.epochs}; "
        f"{protocol.replicas} replicas, paired over all settings by start and order of "
        f"batches; float32, seed 0. Sharpness: of the loss of {protocol.sample} "
        f"training examples, {describe_readings(protocol.batches)}"
    )


def describe_readings(batches: int) -> str:
    """How curvature is read, to end a sentence on the examples of the sharpness."""
    return (
        "the same each time, by ARPACK to 1 %; batch sharpness: of "
        f"{batches} batches, the next ones of the training."
    )
