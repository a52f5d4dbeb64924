"""Curves of all clips, times of onset and collapse, and single examples at one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from birthmark.data import load_dataset
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store
from birthmark_experiments.abandonment.ends import (
    FALLEN,
    LEVELS,
    ONSET,
    WINDOW,
    find_collapse,
    find_death,
    find_onset,
)
from birthmark_experiments.abandonment.examples import follow_examples
from birthmark_experiments.abandonment.protocol import (
    LOGITS,
    PAPER_EPS,
    Protocol,
    describe,
    train_arms,
)
from birthmark_experiments.frame import labelled, variable
from birthmark_experiments.frame.variables import name_curves, name_deviation

_CURVES = ("train_loss", "train_accuracy", "below_eps")


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Curves of all clips, times of onset and collapse, and single examples at one."""
    specs, store = train_arms(protocol, folder)
    spec = next(iter(specs.values()))
    dataset = load_dataset(spec.data)
    arms = [_read_arm(store, one, dataset) for one in specs.values()]
    # shorter arms are NaN beyond their end
    results = xr.concat(arms, dim="clip", join="outer").assign_coords(clip=list(specs))
    followed = specs[f"{PAPER_EPS:g}"]
    results = xr.merge(
        [results, follow_examples(store, followed, dataset)],
        combine_attrs="no_conflicts",
    )
    eps = [float(n) if n != LOGITS else 0.0 for n in specs]
    results["eps"] = ("clip", eps, labelled("clip; 0: none", "1"))
    results["fitted"] = variable(
        "clip",
        [one in protocol.fitted for one in eps],
        "whether it was run before the others were predicted",
    )
    budgets = [spec.training.epochs for spec in specs.values()]
    results["budget"] = variable("clip", budgets, "epochs of the training", "epochs")
    results.attrs |= {
        "protocol": f"{describe(protocol, len(dataset.y_train))} Clips smaller than "
        f"{PAPER_EPS:g}: {protocol.epochs_beyond} epochs.",
        "steps_per_epoch": -(-len(dataset.y_train) // protocol.batch_size),
        "fallen": FALLEN,
        "onset": ONSET,
        "window": WINDOW,
        "paper_eps": PAPER_EPS,
    }
    return results


def _read_arm(store: Store, spec: RunSpec, dataset: Dataset) -> xr.Dataset:
    """Curves of one clip, and what is read from them."""
    records = store.records(spec.run_key, distributions=False)
    curves = {name: records[name].to_numpy()[1:] for name in _CURVES}
    arm = name_curves(curves, len(dataset.y_train))
    measured = list(spec.recorded_epochs)
    arm["deviation"] = name_deviation(records, measured, "measured_epoch")
    # without a clip no example is abandoned, however small its probability
    clips = spec.training.loss == "clipped_cross_entropy"
    share_TR = curves["below_eps"] / len(dataset.y_train) * clips
    loss_TR, accuracy_TR = curves["train_loss"], curves["train_accuracy"]
    for name, long_name, found in (
        ("collapse", "collapse of the accuracy", find_collapse(accuracy_TR)),
        ("death", "death", find_death(loss_TR, accuracy_TR, dataset.num_classes)),
        ("onset", "onset of abandoning", find_onset(share_TR)),
    ):
        arm[name] = variable("replica", found, f"{long_name}; NaN: none", "epochs")
    arm["onset_at"] = variable(
        ("level", "replica"),
        [find_onset(share_TR, level) for level in LEVELS],
        "first epoch with this share abandoned; NaN: none",
        "epochs",
    )
    return arm.assign_coords(
        level=np.array(LEVELS),
        measured_epoch=np.array(measured, dtype=np.int32),
        replica=np.arange(spec.run.replicas, dtype=np.int32),
    )
