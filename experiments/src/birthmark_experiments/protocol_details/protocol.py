"""Which details are changed, at which widths and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass

from birthmark.spec import RunSpec
from birthmark.sweeps import reproduction
from .details import (
    BlocksInPlace,
    BlocksMoved,
    Detail,
    Drift,
    LastBatchDropped,
    NewOrderOfBatches,
    NoBiases,
    SameBatches,
    ThreeChannels,
    WithReplacement,
)
from .facts import FROM_LOGITS


@dataclass(frozen=True)
class Condition:
    """A detail, and how many networks with it are looked at for how long."""

    kind: type[Detail]
    width: int
    epochs: int
    buffer: int | None = None
    replicas: int = 1
    loss: str = "clipped_cross_entropy"
    precision: str | None = None  # None: that of the run it follows
    fold: int = 1  # of the data


def _list_arms(
    widths: tuple[int, int, int, int], epochs: tuple[int, int, int, int, int]
) -> dict[str, Condition]:
    narrow, fork, between, wide = widths
    few, some, more, many, most = epochs
    buffered = [
        Condition(Detail, fork, many, 2_000, replicas=3),
        Condition(Detail, narrow, most, 2_000, replicas=3),
        Condition(Detail, between, more, 2_000, replicas=3),
        Condition(Detail, wide, more, 2_000, replicas=3),
        Condition(Detail, fork, most, 1_000),
        Condition(Detail, narrow, most, 1_000),
        Condition(Detail, wide, more, 1_000),
        Condition(Detail, fork, more, 4_000, replicas=3),
        Condition(Detail, wide, more, 4_000),
        Condition(Detail, fork, some, 10_000),
    ]
    return {
        **{f"buffer of {arm.buffer:,}, width {arm.width}": arm for arm in buffered},
        FROM_LOGITS: Condition(Detail, fork, most, 1_000, loss="cross_entropy"),
        "three channels": Condition(ThreeChannels, narrow, few),
        "no biases": Condition(NoBiases, fork, some),
        "same batches every epoch": Condition(SameBatches, fork, some),
        "same batches in a new order": Condition(NewOrderOfBatches, fork, some),
        "last batch dropped": Condition(LastBatchDropped, fork, some),
        "drawn with replacement": Condition(WithReplacement, fork, some),
        "same neighbours, same place": Condition(
            BlocksInPlace, fork, some, precision="full"
        ),
        "same neighbours, new place": Condition(
            BlocksMoved, fork, some, replicas=3, precision="full"
        ),
        "same place, new neighbours": Condition(
            Drift, fork, some, replicas=3, precision="full"
        ),
    }


@dataclass(frozen=True)
class Protocol:
    """What one scale trains, and what it is held against."""

    fork: int  # the width at which all details are tried
    reproduced: tuple[int, ...]  # widths that are shown as the reproduction has them
    like: RunSpec  # the run that those of other widths follow
    runs: Mapping[int, RunSpec]  # of the reproduction, by width
    arms: Mapping[str, Condition]


def _reproduced_runs() -> dict[int, RunSpec]:
    return {
        one.network.widths[0]: one
        for one in reproduction("laptop")
        if one.data.name == "hasyv2" and one.training.loss == "clipped_cross_entropy"
    }


PROTOCOLS = {
    "full": Protocol(
        fork=250,
        reproduced=(150, 250, 300),
        like=_reproduced_runs()[250],
        runs=_reproduced_runs(),
        arms={
            **_list_arms((150, 250, 275, 300), (30, 170, 220, 450, 600)),
            **{f"fold {n}": Condition(Detail, 250, 170, fold=n) for n in (2, 3, 4)},
        },
    ),
    "quick": Protocol(
        fork=16,
        reproduced=(12, 16, 20),
        like=RunSpec(
            data={"name": "digits", "examples_per_class": 30},
            network={"widths": [16, 16]},
            mark={"text": "a"},
            training={"epochs": 3},
            run={"replicas": 2, "device": "cpu"},
            record={"distributions": ()},
        ),
        runs={},
        arms=_list_arms((12, 16, 18, 20), (2, 3, 3, 3, 3)),
    ),
}


def find_spec(protocol: Protocol, width: int) -> RunSpec:
    """The run of the reproduction, or where it has none one like that of the fork."""
    like = protocol.like.with_settings({"network.widths": [width, width]})
    return protocol.runs.get(width, like)


def spec_of(arm: Condition, protocol: Protocol) -> RunSpec:
    """The run of an arm, as far as a spec can say it."""
    spec = find_spec(protocol, arm.width)
    return spec.with_settings(
        {
            "data.fold": arm.fold,
            "training.epochs": arm.epochs,
            "training.loss": arm.loss,
            "training.shuffle_buffer": arm.buffer,
            "run.replicas": arm.replicas,
            "run.precision": arm.precision or spec.run.precision,
            "record.epochs": "log",
            "record.distributions": [],
        }
    )


def describe(protocol: Protocol) -> str:
    """The protocol in words, for captions and the page."""
    spec = find_spec(protocol, protocol.fork)
    training = spec.training
    return (
        f"{spec.data.name}, pixels as stored in [0, 1]; dense relu networks of two "
        "equal hidden layers, Glorot uniform, marked; softmax and cross-entropy "
        f"clipped at {training.eps:g}; plain SGD, lr {training.lr:g}, batch "
        f"{training.batch_size}; products from width {spec.network.widths[0]} on in "
        f"{spec.run.precision}; seed {spec.run.seed}. Replica 0 of each arm has the "
        "start of replica 0 of the reproduction, and its batches where these are not "
        "the detail that is changed."
    )
