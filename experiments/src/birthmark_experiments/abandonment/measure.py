"""Curves of all clips, times of onset and collapse, and single examples at one."""

from pathlib import Path

import xarray as xr

from birthmark.data import load_dataset
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store
from ..frame import gather
from ..frame.variables import name_curves, name_deviation
from .ends import FALLEN, LEVELS, ONSET, WINDOW, find_collapse, find_death, find_onset
from .examples import follow_examples
from .protocol import LOGITS, PAPER_EPS, Protocol, describe, train_arms

_CURVES = ("train_loss", "train_accuracy", "below_eps")
_WORDS = {
    "eps": ("clip; 0: none", "1"),
    "fitted": ("whether it was run before the others were predicted", "1"),
    "budget": ("epochs of the training", "epochs"),
    "collapse": ("collapse of the accuracy; NaN: none", "epochs"),
    "death": ("death; NaN: none", "epochs"),
    "onset": ("onset of abandoning; NaN: none", "epochs"),
    "onset_at": ("first epoch with this share abandoned; NaN: none", "epochs"),
}


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
    clips = {
        "eps": ("clip", eps),
        "fitted": ("clip", [one in protocol.fitted for one in eps]),
        "budget": ("clip", [spec.training.epochs for spec in specs.values()]),
    }
    results = results.assign(gather(_WORDS, clips, {}))
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
    onsets = [find_onset(share_TR, level) for level in LEVELS]
    times = {
        "collapse": ("replica", find_collapse(accuracy_TR)),
        "death": ("replica", find_death(loss_TR, accuracy_TR, dataset.num_classes)),
        "onset": ("replica", find_onset(share_TR)),
        "onset_at": (("level", "replica"), onsets),
    }
    replicas = range(spec.run.replicas)
    coords = {"level": LEVELS, "measured_epoch": measured, "replica": replicas}
    return arm.merge(gather(_WORDS, times, coords))
