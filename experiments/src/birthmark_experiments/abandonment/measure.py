"""Clips from wide to none: does the onset of abandoning follow the clip?

If networks of the paper's unstable widths end because they abandon examples, the end
must come later the further out the clip lies, and not at all without one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from scipy.ndimage import median_filter

from birthmark.data import load_dataset
from birthmark.shapes import Array, Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store
from birthmark_experiments.abandonment.examples import follow_examples
from birthmark_experiments.abandonment.facts import summarize
from birthmark_experiments.abandonment.protocol import (
    LOGITS,
    PAPER_EPS,
    PROTOCOLS,
    Protocol,
    train_arms,
)
from birthmark_experiments.frame.experiment import Experiment, labelled

WINDOW = 21  # epochs of the running median of the accuracy
FALLEN = 0.8  # of its highest: what a collapsed network is below
ONSET = 0.05  # share of abandoned examples
LEVELS = (0.01, 0.02, 0.03, ONSET)  # shares, to see what depends on the choice
_CURVES = {
    "train_loss": ("train loss, mean over an epoch as it was visited", "nat"),
    "train_accuracy": ("train accuracy, likewise", "1"),
    "below_eps": ("share of visits with a true class below the clip", "1"),
}
_LAYER = "hidden2"


def measure(scale: str, folder: Path) -> xr.Dataset:
    """Curves of all clips, times of onset and collapse, and single examples at one."""
    protocol = PROTOCOLS[scale]
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
    fitted = np.array([one in protocol.fitted for one in eps], dtype=np.int8)
    words = labelled("whether it was run before the others were predicted", "1")
    results["fitted"] = ("clip", fitted, words)
    budgets = [spec.training.epochs for spec in specs.values()]
    words = labelled("epochs of the training", "epochs")
    results["budget"] = ("clip", np.array(budgets, dtype=np.int32), words)
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


def describe(protocol: Protocol, num_examples: int) -> str:
    """One or two sentences for captions and pages."""
    data = protocol.data
    classes = f"the first {data['classes']} classes of " if "classes" in data else ""
    pixels = "inverted" if "preprocessing" in data else "as stored (white background)"
    width = protocol.width
    return (
        f"{classes}{data['name']}, at most {data['examples_per_class']} examples a "
        f"class ({num_examples} in all), pixels {pixels} in [0, 1]; dense relu network "
        f"{width}-{width}, Glorot uniform; plain SGD, lr {protocol.lr:g}, batch "
        f"{protocol.batch_size}, {protocol.epochs} epochs; {protocol.replicas} "
        "replicas, paired over the clips by start and order of batches; float32, "
        "seed 0."
    )


def find_collapse(accuracy_TR: Array) -> Array:
    """The epoch at which a network has lost what it had learned, NaN if none, [R].

    The first after the highest point of the running median of the train accuracy at
    which that median is below 0.8 of it. The accuracy means the same under any clip;
    levels of the loss do not.

    Args:
        accuracy_TR: At epochs 1, 2, ...
    """
    smooth_TR = median_filter(accuracy_TR, size=(WINDOW, 1), mode="nearest")
    epochs = np.arange(1, len(smooth_TR) + 1)[:, None]
    after_TR = epochs > smooth_TR.argmax(axis=0) + 1
    return _first((smooth_TR < FALLEN * smooth_TR.max(axis=0)) & after_TR)


def find_death(loss_TR: Array, accuracy_TR: Array, num_classes: int) -> Array:
    """The epoch at which a network that had learned only guesses, NaN if none, [R].

    Its loss is within 2 % of ln K and its accuracy at most 2 / K, as running medians
    over 5 epochs, after an epoch with half of the examples right. (A network that has
    abandoned its examples has a loss far above ln K.)

    Args:
        loss_TR: At epochs 1, 2, ...
        accuracy_TR: Likewise.
        num_classes: K.
    """
    loss_TR = median_filter(loss_TR, size=(5, 1), mode="nearest")
    accuracy_TR = median_filter(accuracy_TR, size=(5, 1), mode="nearest")
    learned_TR = np.maximum.accumulate(accuracy_TR, axis=0) >= 0.5
    guesses_TR = np.abs(loss_TR / np.log(num_classes) - 1) <= 0.02
    return _first(learned_TR & guesses_TR & (accuracy_TR <= 2 / num_classes))


def find_onset(share_TR: Array, level: float = ONSET) -> Array:
    """The first epoch with so large a share of abandoned examples, NaN if none, [R].

    Args:
        share_TR: At epochs 1, 2, ...; its running median over 5 epochs is looked at.
        level: The share.
    """
    return _first(median_filter(share_TR, size=(5, 1), mode="nearest") >= level)


def _first(seen_TR: Array) -> Array:
    epoch = seen_TR.argmax(axis=0) + 1.0
    return np.where(seen_TR.any(axis=0), epoch, np.nan)


def _read_arm(store: Store, spec: RunSpec, dataset: Dataset) -> xr.Dataset:
    """Curves of one clip, and what is read from them."""
    records = store.records(spec.run_key, distributions=False)
    values = {name: records[name].to_numpy()[1:] for name in _CURVES}
    values["below_eps"] = values["below_eps"] / len(dataset.y_train)
    measured = list(spec.recorded_epochs)
    deviation = records["deviation_std"].sel(layer=_LAYER).to_numpy()[measured]
    arm = xr.Dataset(
        {
            name: (
                ("epoch", "replica"),
                np.float32(values[name]),
                {"long_name": long_name, "units": units},
            )
            for name, (long_name, units) in _CURVES.items()
        }
    )
    arm["deviation"] = (
        ("measured_epoch", "replica"),
        np.float32(deviation),
        {
            "long_name": "standard deviation of the deviation, between hidden layers",
            "units": "weight",
        },
    )
    # without a clip no example is abandoned, however small its probability
    clips = spec.training.loss == "clipped_cross_entropy"
    share_TR = values["below_eps"] * clips
    loss_TR, accuracy_TR = values["train_loss"], values["train_accuracy"]
    for name, long_name, found in (
        ("collapse", "collapse of the accuracy", find_collapse(accuracy_TR)),
        ("death", "death", find_death(loss_TR, accuracy_TR, dataset.num_classes)),
        ("onset", "onset of abandoning", find_onset(share_TR)),
    ):
        words = {"long_name": f"{long_name}; NaN: none", "units": "epochs"}
        arm[name] = ("replica", found, words)
    words = labelled("first epoch with this share abandoned; NaN: none", "epochs")
    onsets = np.stack([find_onset(share_TR, level) for level in LEVELS])
    arm["onset_at"] = (("level", "replica"), onsets, words)
    return arm.assign_coords(
        level=np.array(LEVELS),
        epoch=np.arange(1, len(share_TR) + 1, dtype=np.int32),
        measured_epoch=np.array(measured, dtype=np.int32),
        replica=np.arange(spec.run.replicas, dtype=np.int32),
    )


EXPERIMENT = Experiment(
    name="abandonment",
    question="Is the untrainability regime made by examples that the loss abandons?",
    data=("hasyv2",),
    measure=measure,
    summarize=summarize,
)
