"""Train the run, or take it where it is done; then look at every example."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from birthmark.data import load_dataset
from birthmark.shapes import Array, Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store
from birthmark.sweeps import run
from birthmark_experiments.abandonment.contradictions import count_labels
from birthmark_experiments.abandonment.ends import ONSET
from birthmark_experiments.abandonment.examples import find_losses
from birthmark_experiments.frame import labelled
from birthmark_experiments.frame.probes import as_inputs
from birthmark_experiments.who_is_abandoned.pictures import show_examples
from birthmark_experiments.who_is_abandoned.protocol import Protocol, describe
from birthmark_experiments.who_is_abandoned.ratios import find_ratios
from birthmark_experiments.who_is_abandoned.traits import (
    STAGES,
    find_stages,
    find_traits,
)

_LAYER = "hidden2"


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Train the run, or take it where it is done; then look at every example."""
    spec = protocol.spec
    store = run(spec, folder / "store").store
    dataset = load_dataset(spec.data)
    num_examples = len(dataset.y_train)
    results = _look(store, protocol, dataset)
    results = results.merge(_read_curves(store, spec, num_examples))
    epochs = results["kept_epoch"].to_numpy().tolist()
    results.attrs |= {
        "protocol": describe(spec, num_examples, epochs),
        "eps": spec.training.eps,
        "onset": ONSET,
        "early": protocol.early,
        "num_examples": num_examples,
        "batch_size": spec.training.batch_size,
        "epochs": spec.training.epochs,
        "num_classes": dataset.num_classes,
        **count_contradictions(dataset),
    }
    return results


def _look(store: Store, protocol: Protocol, dataset: Dataset) -> xr.Dataset:
    """Counts by trait, stage, class and epoch, and pictures."""
    spec, early = protocol.spec, protocol.early
    epochs = [e for e in store.weights_epochs(spec.run_key) if e > 0]
    x_NI, y_N = as_inputs(dataset, "train")
    top = -np.log(spec.training.eps)
    early_RN = find_losses(store, spec, early, x_NI, y_N)
    traits = find_traits(dataset, early_RN)
    trait_PRN = np.stack(list(traits.values()))
    below, totals = [], []
    for epoch in epochs:
        loss_RN = find_losses(store, spec, epoch, x_NI, y_N)
        below.append(loss_RN > top)
        clipped_RN = np.minimum(loss_RN, top)
        totals.append([(trait_RN * clipped_RN).sum(axis=1) for trait_RN in trait_PRN])
    below_TRN = np.stack(below)
    means_TPR = np.array(totals) / np.maximum(trait_PRN.sum(axis=2), 1)
    kept = ("kept_epoch", "trait", "replica")
    counts = xr.Dataset(
        {
            "num_below": (
                kept,
                np.array([(one & trait_PRN).sum(axis=2) for one in below], np.int32),
                labelled("examples with the trait below the clip", "1"),
            ),
            "mean_loss": (
                kept,
                means_TPR.astype(np.float32),
                labelled("mean clipped loss of the examples with the trait", "nat"),
            ),
        },
        {"kept_epoch": np.array(epochs, dtype=np.int32)},
    )
    stage_RN = find_stages(below_TRN, np.array(epochs), early, ONSET)
    parts = [
        counts,
        _count_first(trait_PRN, stage_RN, dataset.y_train),
        _count_stay(below_TRN, stage_RN),
        show_examples(store, spec, early, dataset, x_NI, early_RN),
    ]
    found = xr.merge(parts, combine_attrs="no_conflicts")
    found = found.assign_coords(stage=list(STAGES), trait=list(traits))
    return found.assign(ratio=find_ratios(found))


def _count_first(trait_PRN: Array, stage_RN: Array, y_N: Array) -> xr.Dataset:
    """By stage, trait, replica and class: the first abandoned, of those at risk."""
    num_classes = y_N.max() + 1
    shape = (len(STAGES), *trait_PRN.shape[:2], num_classes)
    first, risk = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    for s, p, r in np.ndindex(shape[:3]):
        at_risk = trait_PRN[p, r] & ((stage_RN[r] >= s) | (stage_RN[r] < 0))
        risk[s, p, r] = np.bincount(y_N[at_risk], minlength=num_classes)
        now = at_risk & (stage_RN[r] == s)
        first[s, p, r] = np.bincount(y_N[now], minlength=num_classes)
    dims = ("stage", "trait", "replica", "class")
    return xr.Dataset(
        {
            "num_first": (dims, first, labelled("first below the clip then", "1")),
            "num_risk": (dims, risk, labelled("not below the clip before", "1")),
        }
    )


def _count_stay(below_TRN: Array, stage_RN: Array) -> xr.Dataset:
    """By kept epoch, stage and replica: how many are below, and at the next one too."""
    next_TRN = np.concatenate([below_TRN[1:], np.zeros_like(below_TRN[:1])])
    still, stay = [], []
    for s in range(len(STAGES)):
        members_TRN = below_TRN & (stage_RN == s)
        still.append(members_TRN.sum(axis=2))
        stay.append((members_TRN & next_TRN).sum(axis=2))
    dims = ("stage", "kept_epoch", "replica")
    words = "of these, at the next kept epoch too (0 at the last)"
    return xr.Dataset(
        {
            "num_still": (
                dims,
                np.array(still, np.int32),
                labelled("examples of the stage below the clip", "1"),
            ),
            "num_stay": (dims, np.array(stay, np.int32), labelled(words, "1")),
        }
    )


def _read_curves(store: Store, spec: RunSpec, num_examples: int) -> xr.Dataset:
    """Loss, abandoned share and deviation of the run, as recorded."""
    records = store.records(spec.run_key, distributions=False)
    last = max(store.weights_epochs(spec.run_key))
    epochs = records["epoch"].to_numpy()
    recorded = np.isin(epochs, spec.recorded_epochs)
    shown = records.isel(step=recorded & (epochs >= 1) & (epochs <= last))
    values = {
        "train_loss": (shown["train_loss"], "train loss, mean over an epoch", "nat"),
        "abandoned": (
            shown["abandoned"] / num_examples,
            "share of visits abandoned",
            "1",
        ),
        "deviation": (
            shown["deviation_std"].sel(layer=_LAYER),
            "standard deviation of the deviation, between hidden layers",
            "weight",
        ),
    }
    return xr.Dataset(
        {
            name: (
                ("epoch", "replica"),
                np.float32(one.transpose("step", "replica").to_numpy()),
                labelled(words, units),
            )
            for name, (one, words, units) in values.items()
        },
        {"epoch": shown["epoch"].to_numpy().astype(np.int32)},
    )


def count_contradictions(dataset: Dataset) -> dict[str, Any]:
    """Facts of equal images with more than one label, whatever the network does.

    Returns:
        `num_images` that carry several labels, `num_contradictory` examples of them,
        and of these `num_outvoted`, `num_tied`; `least_share` of a label among the
        equal images of an example (NaN without any). `floor`: the loss summed over
        these examples, in nat, where each label has its share of the probability;
        `tied_floor`: that of the tied ones alone.
    """
    labels = count_labels(dataset)
    is_one = labels.contradicts
    shares = labels.own[is_one] / labels.all[is_one]
    return {
        "num_images": round(float((1 / labels.all[is_one]).sum())),
        "num_contradictory": int(is_one.sum()),
        "num_outvoted": int((labels.own < labels.most).sum()),
        "num_tied": int(labels.is_tied.sum()),
        "least_share": float(shares.min()) if len(shares) else float("nan"),
        # no function of the image has a smaller loss on these examples
        "floor": float(-np.log(shares).sum()),
        "tied_floor": float(-np.log(labels.own / labels.all)[labels.is_tied].sum()),
    }
