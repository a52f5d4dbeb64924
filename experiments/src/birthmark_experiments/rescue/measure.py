"""Curves after the onset, of each arm and replica."""

from pathlib import Path

import numpy as np
import xarray as xr

from birthmark.data import load_dataset
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store
from birthmark.sweeps import run
from birthmark.training import Training
from ..frame import coordinates, variable, variables
from .protocol import (
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
                for name, array in values.items():
                    array[a, place, e] = getattr(metrics, name)[0]
    values["below_eps"] /= len(dataset.y_train)
    dims = ("intervention", "replica", "epoch_after")
    labels = (list(arms), replicas, range(1, protocol.more + 1))
    results = xr.Dataset(variables(dims, _METRICS, values))
    results = results.assign_coords(coordinates(dict(zip(dims, labels, strict=True))))
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
    initial, now = (store.weights(spec.run_key, one) for one in (0, epoch))
    for name in now:
        layer = (initial if name in arm.put_back else now)[name]
        w, b = (np.asarray(part)[[replica]] for part in (layer.w, layer.b))
        training.set_weights({f"{name}.w": w, f"{name}.b": b})
    training.go_to(epoch)
    return training
