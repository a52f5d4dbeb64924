"""The same network, trained without those that every replica abandons early."""

from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from birthmark.analysis import Thresholds, divergence_level
from birthmark.shapes import Array, Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store
from birthmark.training import Training
from ..frame import gather, recall
from ..hardest_left_out.measure import OrderWithout
from .facts import WITH, WITHOUT

_LOSS = "every_train_loss"
_WORDS = {_LOSS: ("train loss, mean over an epoch as it was visited", "nat")}


def compare_without(
    store: Store,
    spec: RunSpec,
    dataset: Dataset,
    out_N: Array,
    count: int,
    folder: Path,
) -> xr.Dataset:
    """Losses of so many epochs, with all examples and without some.

    Args:
        store: In which there is the run with all.
        spec: Of this run, which is as long at least.
        dataset: Its data.
        out_N: Whether an example is left out.
        count: Epochs.
        folder: Where finished parts are kept.
    """
    shorter = spec.with_settings({"training.epochs": count})
    records = store.records(spec.run_key, distributions=False)
    with_all_TR = records["train_loss"].to_numpy()[1 : count + 1]
    told, make = [shorter, out_N], partial(_train, shorter, dataset, ~out_N)
    without = recall(folder, "without the always abandoned", told, make)
    both_ATR = np.array([with_all_TR, without["loss"].to_numpy()], dtype=np.float32)
    values = {_LOSS: (("trained", "every_epoch", "replica"), both_ATR)}
    coords = {"trained": [WITH, WITHOUT], "every_epoch": range(1, count + 1)}
    found = gather(_WORDS, values, coords)
    level = divergence_level(spec, records, Thresholds())
    return found.assign_attrs(plateau_level=level)


def _train(spec: RunSpec, dataset: Dataset, kept_N: Array) -> xr.Dataset:
    """All replicas from their starts, with a last batch as large as that with all."""
    run, size = spec.run, spec.training.batch_size
    order = OrderWithout(run.seed, run.replicas, kept_N, size)
    training = Training.from_spec(spec, dataset, order=order)
    loss_TR = [training.run_epoch().train_loss for _ in range(spec.training.epochs)]
    return xr.Dataset({"loss": (("epoch", "replica"), np.array(loss_TR))})
