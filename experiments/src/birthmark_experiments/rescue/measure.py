"""Curves after the onset, of each arm and replica."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from birthmark.data import load_dataset
from birthmark.shapes import Array, Dataset, EpochMetrics
from birthmark.spec import RunSpec
from birthmark.store import Store
from birthmark.sweeps import run
from birthmark.training import Training
from birthmark_experiments.frame import variable, variables
from birthmark_experiments.rescue.protocol import (
    Intervention,
    Protocol,
    describe_rescue,
    find_spec,
    list_interventions,
)

_METRICS = {
    "train_accuracy": ("train accuracy, mean over an epoch", "1"),
    "train_loss": ("train loss, likewise, each arm by its own loss", "nat"),
    "below_eps": ("share of visits with a true class below the clip", "1"),
}


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Curves after the onset, of each arm and replica."""
    spec = find_spec(protocol)
    dataset = load_dataset(spec.data)
    store, key = (found := run(spec, folder / "store")).store, found.run_key
    onsets = find_onsets(store, spec, protocol.onset, len(dataset.y_train))
    before = store.records(key, distributions=False)
    arms = list_interventions(spec.training.lr)
    replicas = [r for r, epoch in enumerate(onsets) if epoch >= 0]
    path = ""
    shape = (len(arms), len(replicas), protocol.more)
    values = {name: np.zeros(shape, dtype=np.float32) for name in _METRICS}
    for a, arm in enumerate(arms.values()):
        for place, r in enumerate(replicas):
            training = intervene(store, spec, dataset, arm, r, onsets[r], path=path)
            path = training.path_name
            for e in range(protocol.more):
                metrics = training.run_epoch()
                for name, found_values in _read(metrics, len(dataset.y_train)).items():
                    values[name][a, place, e] = found_values
    dims = ("intervention", "replica", "epoch_after")
    results = xr.Dataset(
        variables(dims, _METRICS, values),
        {
            "intervention": list(arms),
            "replica": np.array(replicas, dtype=np.int32),
            "epoch_after": np.arange(1, protocol.more + 1, dtype=np.int32),
        },
    )
    at = [onsets[r] for r in replicas]
    results["onset"] = variable("replica", at, "epoch of the intervention", "epochs")
    for name in _METRICS:
        values_TR = before[name].to_numpy()
        share = len(dataset.y_train) if name == "below_eps" else 1
        found_R = np.array([values_TR[onsets[r], r] / share for r in replicas])
        results[f"onset_{name}"] = ("replica", found_R, results[name].attrs)
    results.attrs = {
        "protocol": describe_rescue(protocol, spec, len(dataset.y_train)),
        "onset_share": protocol.onset,
        "more": protocol.more,
        "eps": protocol.eps,
        "num_replicas": spec.run.replicas,
        "num_classes": dataset.num_classes,
    }
    return results


def find_onsets(
    store: Store, spec: RunSpec, share: float, num_examples: int
) -> list[int]:
    """The first kept epoch with so large a share abandoned, by replica; -1: none."""
    records = store.records(spec.run_key, distributions=False)
    kept = np.array(store.weights_epochs(spec.run_key))
    seen_TR = records["abandoned"].to_numpy()[kept] >= share * num_examples
    epochs = np.where(seen_TR.any(axis=0), kept[seen_TR.argmax(axis=0)], -1)
    return [int(epoch) for epoch in epochs]


def intervene(
    store: Store,
    spec: RunSpec,
    dataset: Dataset,
    arm: Intervention,
    replica: int,
    epoch: int,
    *,
    path: str = "",
) -> Training:
    """One replica at a kept epoch, changed, and ready to go on."""
    changed = spec.with_settings(arm.settings)
    training = Training.from_spec(changed, dataset, replicas=[replica], path=path)
    now = store.weights(spec.run_key, epoch)
    initial = store.weights(spec.run_key, 0)
    values: dict[str, Array] = {}
    for name in now:
        layer = (initial if name in arm.put_back else now)[name]
        values[f"{name}.w"] = np.asarray(layer.w)[replica : replica + 1]
        values[f"{name}.b"] = np.asarray(layer.b)[replica : replica + 1]
    training.set_weights(values)
    training.go_to(epoch)
    return training


def _read(metrics: EpochMetrics, num_examples: int) -> dict[str, float]:
    return {
        "train_accuracy": float(metrics.train_accuracy[0]),
        "train_loss": float(metrics.train_loss[0]),
        "below_eps": float(metrics.below_eps[0]) / num_examples,
    }
