"""Which starts are compared, under which budget."""

from dataclasses import dataclass
from typing import Any

from birthmark.spec import RunSpec
from ..frame.specs import Start, dense_spec, list_starts, standardized

SEED = 0
LOOKED_AT = 512  # examples of the check-up


@dataclass(frozen=True)
class Protocol:
    """What one scale measures."""

    data: str
    examples_per_class: int
    width: int
    depth: int  # hidden layers
    batch_size: int
    epochs: int
    lrs: tuple[float, float]  # of the comparison, and of the check on it
    replicas: tuple[int, int]  # at these two
    starts: tuple[str, ...] = ()  # names; () takes all


_FEW = (
    *("zeros", "constant", "he_normal", "glorot_uniform", "keras_default"),
    *("orthogonal", "lsuv", "he_normal x 10", "he_normal, small output"),
)
PROTOCOLS = {
    "full": Protocol("mnist", 200, 100, 6, 32, 10, (0.05, 0.01), (5, 3)),
    "quick": Protocol("digits", 40, 20, 3, 16, 4, (0.05, 0.01), (2, 2), _FEW),
}


def chosen_starts(protocol: Protocol) -> list[Start]:
    """The starts of this scale."""
    names = protocol.starts
    return [one for one in list_starts() if not names or one.name in names]


def spec_of(protocol: Protocol, rule: Any, place: int = 0) -> RunSpec:
    """A run from one start, at the learning rate of this place."""
    return dense_spec(
        protocol,
        data=standardized(protocol),
        initialization=rule,
        training={"lr": protocol.lrs[place]},
        run={"replicas": protocol.replicas[place], "seed": SEED},
        record={"distributions": (0,), "weights": () if place else (0,)},
    )


def describe(p: Protocol) -> str:
    """The protocol in words, for captions and the page."""
    return (
        f"{p.data}, the first {p.examples_per_class} training examples of each class "
        "and all test examples, pixels standardized; "
        f"dense network, {p.depth} hidden layers of {p.width} units, relu; biases "
        "zero unless the rule has its own; cross-entropy; plain SGD, lr "
        f"{p.lrs[0]:g} ({p.replicas[0]} replicas) and {p.lrs[1]:g} ({p.replicas[1]} "
        f"replicas), batch {p.batch_size}, {p.epochs} epochs; float32; replica r of "
        "all starts meets the same batches; seed "
        f"{SEED}. Goals are read on {LOOKED_AT} training examples and are met where "
        "the median over replicas lies within the limits."
    )
