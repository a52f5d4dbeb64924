"""What the paper does not say of its protocol, tried one detail at a time.

Networks of width 250 pass a fork near epoch 120: their train loss stands at 0.12, the
least that the paper reports for this width, and then either rises or falls on. The
details that could decide it are changed one by one; the reference is the shipped run.
The one that does decide it, a stream shuffled in a small buffer, is followed at four
widths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from birthmark.data import load_dataset
from birthmark.shapes import Array
from birthmark.spec import RunSpec
from birthmark.store import Store, open_shipped
from birthmark.sweeps import reproduction, run
from birthmark_experiments.frame.experiment import Experiment, labelled
from birthmark_experiments.protocol_details.arms import (
    Detail,
    LastBatchDropped,
    NewOrderOfBatches,
    NoBiases,
    SameBatches,
    ThreeChannels,
    WithReplacement,
)
from birthmark_experiments.protocol_details.facts import (
    FROM_LOGITS,
    REFERENCE,
    summarize,
)


@dataclass(frozen=True)
class Arm:
    """A detail, and how many networks with it are looked at for how long."""

    kind: type[Detail]
    width: int
    epochs: int
    buffer: int | None = None
    replicas: int = 1
    loss: str = "clipped_cross_entropy"


def _list_arms(
    widths: tuple[int, int, int, int], epochs: tuple[int, int, int, int, int]
) -> dict[str, Arm]:
    narrow, fork, between, wide = widths
    few, some, more, many, most = epochs
    buffered = [
        Arm(Detail, fork, many, 2_000, replicas=3),
        Arm(Detail, narrow, most, 2_000, replicas=3),
        Arm(Detail, between, more, 2_000, replicas=3),
        Arm(Detail, wide, more, 2_000, replicas=3),
        Arm(Detail, fork, most, 1_000),
        Arm(Detail, narrow, most, 1_000),
        Arm(Detail, wide, more, 1_000),
        Arm(Detail, fork, more, 4_000, replicas=3),
        Arm(Detail, wide, more, 4_000),
        Arm(Detail, fork, some, 10_000),
    ]
    return {
        **{f"buffer of {arm.buffer:,}, width {arm.width}": arm for arm in buffered},
        FROM_LOGITS: Arm(Detail, fork, most, 1_000, loss="cross_entropy"),
        "three channels": Arm(ThreeChannels, narrow, few),
        "no biases": Arm(NoBiases, fork, some),
        "same batches every epoch": Arm(SameBatches, fork, some),
        "same batches in a new order": Arm(NewOrderOfBatches, fork, some),
        "last batch dropped": Arm(LastBatchDropped, fork, some),
        "drawn with replacement": Arm(WithReplacement, fork, some),
    }


_FORK = {"full": 250, "quick": 16}  # the width at which all details are tried
_REPRODUCED = {"full": (150, 250, 300), "quick": (12, 16, 20)}
ARMS = {
    "full": _list_arms((150, _FORK["full"], 275, 300), (30, 170, 220, 450, 600)),
    "quick": _list_arms((12, _FORK["quick"], 18, 20), (2, 3, 3, 3, 3)),
}


def measure(scale: str, folder: Path) -> xr.Dataset:
    """Losses of each arm, epoch by epoch, beside those of the reproduction."""
    arms = ARMS[scale]
    folder.mkdir(parents=True, exist_ok=True)
    widths = {name: arm.width for name, arm in arms.items()}
    curves = {name: _train(arm, scale, folder, name) for name, arm in arms.items()}
    for width in _REPRODUCED[scale]:
        longest = max(arm.epochs for arm in arms.values() if arm.width == width)
        name = f"{REFERENCE}, width {width}"
        widths[name] = width
        curves[name] = _read_reference(find_spec(scale, width), longest, folder)
    fork = _FORK[scale]
    results = _gather(curves)
    results["width"] = (
        "arm",
        np.array([widths[name] for name in curves], dtype=np.int32),
        labelled("width of both hidden layers", "units"),
    )
    buffers = {name: arm.buffer for name, arm in arms.items()}
    results["buffer"] = (
        "arm",
        np.array([buffers.get(name) or 0 for name in curves], dtype=np.int32),
        labelled("buffer in which the stream is shuffled; 0: no stream", "examples"),
    )
    eps = find_spec(scale, fork).training.eps
    results.attrs = {
        "protocol": _describe(scale, fork),
        "plateau": -math.log(eps),
        "fork": np.int32(fork),
    }
    return results


def find_spec(scale: str, width: int) -> RunSpec:
    """The run of the reproduction, or one like that of the fork; for `quick` small."""
    if scale == "full":
        runs = {
            one.network.widths[0]: one
            for one in reproduction("laptop")
            if one.data.name == "hasyv2"
            and one.training.loss == "clipped_cross_entropy"
        }
        like_fork = runs[_FORK[scale]].with_settings({"network.widths": [width, width]})
        return runs.get(width, like_fork)
    return RunSpec(
        data={"name": "digits", "examples_per_class": 30},
        network={"widths": [width, width]},
        mark={"text": "a"},
        training={"epochs": 3},
        run={"replicas": 2, "device": "cpu"},
        record={"distributions": ()},
    )


def spec_of(arm: Arm, scale: str) -> RunSpec:
    """The run of an arm, as far as a spec can say it."""
    return find_spec(scale, arm.width).with_settings(
        {
            "training.epochs": arm.epochs,
            "training.loss": arm.loss,
            "training.shuffle_buffer": arm.buffer,
            "run.replicas": arm.replicas,
            "record.epochs": "log",
            "record.distributions": [],
        }
    )


def prepare(arm: Arm, scale: str) -> Detail:
    """An arm, ready to train."""
    spec = spec_of(arm, scale)
    training = arm.kind(spec, arm.kind.prepare(load_dataset(spec.data)))
    training.begin()
    return training


def _train(arm: Arm, scale: str, folder: Path, name: str) -> Array:
    """Train and test loss [2, T, R]; from the folder where they are there already."""
    path = folder / f"{name.replace(' ', '-')}.npy"
    if path.exists():
        curve: Array = np.load(path)
        return curve
    if arm.kind is Detail:  # a run like any other, which can be stopped and resumed
        spec = spec_of(arm, scale)
        curve = _read_losses(run(spec, folder / "store").store, spec)
    else:
        training = prepare(arm, scale)
        metrics = [training.run_epoch() for _ in range(arm.epochs)]
        curve = np.array(
            [[one.train_loss for one in metrics], [one.test_loss for one in metrics]],
            dtype=np.float32,
        )
    np.save(path, curve)
    return curve


def _read_reference(spec: RunSpec, epochs: int, folder: Path) -> Array:
    shipped = open_shipped("paper")
    known = spec.run_key in set(shipped.runs()["run_key"])
    store = shipped if known else run(spec, folder / "store").store
    return _read_losses(store, spec)[:, :epochs]


def _read_losses(store: Store, spec: RunSpec) -> Array:
    """Train and test loss of each epoch from the first, [2, T, R]."""
    records = store.records(spec.run_key, distributions=False)
    losses = [records[name].to_numpy() for name in ("train_loss", "test_loss")]
    return np.array(losses, dtype=np.float32)[:, 1:]


def _gather(curves: dict[str, Array]) -> xr.Dataset:
    """All curves in one frame, NaN beyond the end of each."""
    shapes = np.array([curve.shape for curve in curves.values()])
    _, longest, most = shapes.max(axis=0)
    losses_A2TR = np.full((len(curves), 2, longest, most), np.nan, dtype=np.float32)
    for frame_2TR, curve_2TR in zip(losses_A2TR, curves.values(), strict=True):
        frame_2TR[:, : curve_2TR.shape[1], : curve_2TR.shape[2]] = curve_2TR
    dims = ("arm", "epoch", "replica")
    words = {
        "train_loss": "train loss, running mean over the epoch",
        "test_loss": "test loss at the end of the epoch",
    }
    return xr.Dataset(
        {
            name: (dims, losses_A2TR[:, place], labelled(said, "nat"))
            for place, (name, said) in enumerate(words.items())
        },
        {
            "arm": list(curves),
            "epoch": np.arange(1, longest + 1, dtype=np.int32),
            "replica": np.arange(most, dtype=np.int32),
        },
    )


def _describe(scale: str, width: int) -> str:
    spec = find_spec(scale, width)
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


EXPERIMENT = Experiment(
    name="protocol-details",
    question="Which unstated detail of the paper's protocol decides over width 250?",
    data=("hasyv2",),
    measure=measure,
    summarize=summarize,
)
