"""How often units are active, and how far the weights out of them have moved."""

from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from birthmark.analysis import draw_masks
from birthmark.data import load_dataset
from birthmark.shapes import Array, Layer
from birthmark.spec import MarkSpec, RunSpec
from birthmark.statistics import read_mark
from birthmark.store import Store, open_store
from ..frame import gather
from ..frame.probes import as_inputs, as_tensors, train_all
from .facts import NUM_BINS, QUIET, SELECTIONS, STILL, WIDTH_OF_BINS
from .protocol import Protocol, describe

_BLOCK = 8192  # examples at a time
_WORDS = {
    "activity": ("share of the training images that activate a unit of hidden1", "1"),
    "moved": ("rms deviation of the weights out of a unit", "bound"),
    "density": ("density of the size of the deviation", "1 / bound"),
    "train_loss": ("train loss, running mean over the epoch", "nat"),
    "letter_auc": ("pooled AUC of a letter that was never set", "1"),
    "letter_p": ("share of permuted matrices that score as high", "1"),
    "letter_rank": ("rank of that letter among all", "1"),
}
LETTER = "a"  # of the paper, of which these networks know nothing


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """What units do and how far they moved, by background and kept epoch."""
    specs = {name: protocol.spec_of(name) for name in protocol.pixels}
    store = open_store(folder / "store", create=True)
    train_all(specs.values(), store)
    found = [look(store, spec) for spec in specs.values()]
    results = xr.concat(found, "background", combine_attrs="override")
    results = results.assign_coords(background=list(specs))
    dataset = load_dataset(protocol.spec.data)
    about = {"num_examples": len(dataset.y_train), "quiet": QUIET, "still": STILL}
    return results.assign_attrs(about, protocol=describe(protocol, about))


def look(store: Store, spec: RunSpec) -> xr.Dataset:
    """Units and the weights out of them at every kept epoch but the start."""
    x_NI, _ = as_inputs(load_dataset(spec.data), "train")
    start = as_tensors(store.weights(spec.run_key, 0))["hidden2"].w
    # of Glorot's uniform law
    bound = float(np.sqrt(6 / sum(start.shape[1:])))
    epochs = [epoch for epoch in store.weights_epochs(spec.run_key) if epoch > 0]
    values: dict[str, list[Array]] = {name: [] for name in _WORDS}
    for epoch in epochs:
        weights = as_tensors(store.weights(spec.run_key, epoch))
        activity_RU = count_active(weights["hidden1"], x_NI) / len(x_NI)
        deviation_RUO = ((weights["hidden2"].w - start) / bound).double().numpy()
        moved_RU = np.sqrt(np.square(deviation_RUO).mean(axis=2))
        values["activity"].append(activity_RU)
        values["moved"].append(moved_RU)
        values["density"].append(find_densities(deviation_RUO, activity_RU, moved_RU))
        read = [_read(w_UO) for w_UO in weights["hidden2"].w.double().numpy()]
        for name in read[0]:
            values[name].append(np.array([one[name] for one in read]))
    records = store.records(spec.run_key, distributions=False)
    at = np.isin(records["epoch"].to_numpy(), epochs)
    values["train_loss"] = list(records["train_loss"].to_numpy()[at])
    dims = {
        "activity": ("unit",),
        "moved": ("unit",),
        "density": ("selection", "bin"),
    }
    named = {
        name: (
            ("kept_epoch", "replica", *dims.get(name, ())),
            np.asarray(each, dtype=np.float32),
        )
        for name, each in values.items()
    }
    centres = (np.arange(NUM_BINS) + 0.5) * WIDTH_OF_BINS
    labels = {"kept_epoch": epochs, "selection": list(SELECTIONS), "bin": centres}
    return gather(_WORDS, named, labels)


def count_active(layer: Layer, x_NI: Tensor) -> Array:
    """How many examples activate each unit of a first layer, [R, U]."""
    counts = torch.zeros(layer.b.shape, dtype=torch.int64)
    with torch.no_grad():
        for x in torch.split(x_NI, _BLOCK):
            z_RBU = x @ layer.w + layer.b.unsqueeze(1)
            counts += (z_RBU > 0).sum(dim=1)
    found: Array = counts.numpy()
    return found


def find_densities(deviation_RUO: Array, activity_RU: Array, moved_RU: Array) -> Array:
    """Of the size of the deviation, with and without some units, [R, selection, bin].

    NaN where no unit is left.
    """
    left = {
        "all": np.ones_like(moved_RU, dtype=bool),
        "active": activity_RU >= QUIET,
        "moving": moved_RU > STILL,
    }
    edges = np.arange(NUM_BINS + 1) * WIDTH_OF_BINS
    found = np.full((len(moved_RU), len(SELECTIONS), NUM_BINS), np.nan)
    for r, deviation_UO in enumerate(deviation_RUO):
        for s, name in enumerate(SELECTIONS):
            sizes = np.abs(deviation_UO[left[name][r]])
            if sizes.size:
                counts, _ = np.histogram(sizes, edges)
                found[r, s] = counts / sizes.size / WIDTH_OF_BINS
    return found


def _read(w_UO: Array) -> dict[str, float]:
    """A letter that was never set, read as a mark is."""
    found = read_mark(w_UO, *draw_masks(MarkSpec(text=LETTER), w_UO))
    return {"letter_auc": found.auc, "letter_p": found.p, "letter_rank": found.rank}
