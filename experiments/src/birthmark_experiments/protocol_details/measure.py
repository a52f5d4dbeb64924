"""Losses of each arm, epoch by epoch, beside those of the reproduction."""

from pathlib import Path

import numpy as np
import xarray as xr

from birthmark.data import load_dataset
from birthmark.shapes import Array
from birthmark.spec import RunSpec
from birthmark.store import Store, open_shipped
from birthmark.sweeps import run
from ..frame import gather, recall
from .details import Detail
from .facts import REFERENCE
from .protocol import Condition, Protocol, describe, find_spec, spec_of

_WORDS = {
    "width": ("width of both hidden layers", "units"),
    "buffer": ("buffer in which the stream is shuffled; 0: no stream", "examples"),
    "train_loss": ("train loss, running mean over the epoch", "nat"),
    "test_loss": ("test loss at the end of the epoch", "nat"),
}


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Losses of each arm, epoch by epoch, beside those of the reproduction."""
    arms = protocol.arms
    widths = {name: arm.width for name, arm in arms.items()}
    curves = {name: _train(arm, protocol, folder, name) for name, arm in arms.items()}
    for width in protocol.reproduced:
        longest = max(arm.epochs for arm in arms.values() if arm.width == width)
        name = f"{REFERENCE}, width {width}"
        widths[name] = width
        curves[name] = _read_reference(find_spec(protocol, width), longest, folder)
    buffers = {name: arm.buffer for name, arm in arms.items()}
    about = {
        "width": ("arm", [widths[name] for name in curves]),
        "buffer": ("arm", [buffers.get(name) or 0 for name in curves]),
    }
    results = _gather(curves).assign(gather(_WORDS, about, {}))
    results.attrs = {
        "protocol": describe(protocol),
        "fork": np.int32(protocol.fork),
    }
    return results


def prepare(arm: Condition, protocol: Protocol) -> Detail:
    """An arm, ready to train."""
    spec = spec_of(arm, protocol)
    training = arm.kind(spec, arm.kind.prepare(load_dataset(spec.data)))
    training.begin()
    return training


def _train(arm: Condition, protocol: Protocol, folder: Path, name: str) -> Array:
    """Train and test loss [2, T, R]; of what no spec can say from the cache."""
    spec = spec_of(arm, protocol)
    if arm.kind is Detail:  # a run like any other, which can be stopped and resumed
        return _read_losses(run(spec, folder / "store").store, spec)

    def train() -> xr.Dataset:
        training = prepare(arm, protocol)
        metrics = [training.run_epoch() for _ in range(arm.epochs)]
        halves = ("train_loss", "test_loss")
        curve_2TR = np.array([[getattr(x, half) for x in metrics] for half in halves])
        dims = ("half", "epoch", "replica")
        return xr.Dataset({"loss": (dims, curve_2TR.astype(np.float32))})

    return recall(folder, name, [arm, spec], train)["loss"].to_numpy()


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
    values = {
        "train_loss": (dims, losses_A2TR[:, 0]),
        "test_loss": (dims, losses_A2TR[:, 1]),
    }
    labels = (list(curves), range(1, longest + 1), range(most))
    return gather(_WORDS, values, dict(zip(dims, labels, strict=True)))
