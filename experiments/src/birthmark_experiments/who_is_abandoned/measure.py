"""Train the run, or take it where it is done; then look at every example."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

from birthmark.data import load_dataset
from birthmark.network import forward_stack
from birthmark.seeds import stream
from birthmark.shapes import Array, Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store
from birthmark.sweeps import run
from ..abandonment.contradictions import count_labels
from ..abandonment.ends import ONSET
from ..abandonment.examples import find_losses
from ..frame import gather
from ..frame.probes import as_inputs, as_tensors, take_replicas
from ..frame.variables import name_curves, name_deviation
from .protocol import Protocol, describe
from .traits import STAGES, find_ratios, find_stages, find_traits
from .without import compare_without

_STAY = "of these, at the next kept epoch too (0 at the last)"
_WORDS = {
    "num_below": ("examples with the trait below the clip", "1"),
    "mean_loss": ("mean clipped loss of the examples with the trait", "nat"),
    "num_first": ("first below the clip then", "1"),
    "num_risk": ("not below the clip before", "1"),
    "num_still": ("examples of the stage below the clip", "1"),
    "num_stay": (_STAY, "1"),
    "picture": ("pixels as stored", "1"),
}
COUNT = 12
ROWS = ("abandoned", "of its label", "of the class given")


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Train the run, or take it where it is done; then look at every example."""
    spec = protocol.spec
    store = run(spec, folder / "store").store
    dataset = load_dataset(spec.data)
    num_examples = len(dataset.y_train)
    x_NI, y_N = as_inputs(dataset, "train")
    early_RN = find_losses(store, spec, protocol.early, x_NI, y_N)
    common_N = _find_common(early_RN, spec)
    parts = [
        _look(store, protocol, dataset, (x_NI, y_N), early_RN),
        show_examples(store, spec, protocol.early, dataset, x_NI, early_RN),
        _read_curves(store, spec, num_examples),
        compare_without(store, spec, dataset, common_N, protocol.without, folder),
    ]
    results = xr.merge(parts, combine_attrs="no_conflicts")
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


def _look(
    store: Store,
    protocol: Protocol,
    dataset: Dataset,
    inputs: tuple[Tensor, Tensor],
    early_RN: Array,
) -> xr.Dataset:
    """Counts by trait, stage, class and epoch."""
    spec, early = protocol.spec, protocol.early
    epochs = [e for e in store.weights_epochs(spec.run_key) if e > 0]
    top = -np.log(spec.training.eps)
    traits = find_traits(dataset, early_RN)
    trait_PRN = np.stack(list(traits.values()))
    below, totals = [], []
    for epoch in epochs:
        loss_RN = find_losses(store, spec, epoch, *inputs)
        below.append(loss_RN > top)
        clipped_RN = np.minimum(loss_RN, top)
        totals.append([(trait_RN * clipped_RN).sum(axis=1) for trait_RN in trait_PRN])
    below_TRN = np.stack(below)
    means_TPR = np.array(totals) / np.maximum(trait_PRN.sum(axis=2), 1)
    kept, counts = ("kept_epoch", "trait", "replica"), (below_TRN[:, None] & trait_PRN)
    values = {"num_below": (kept, counts.sum(axis=3)), "mean_loss": (kept, means_TPR)}
    stage_RN = find_stages(below_TRN, np.array(epochs), early, ONSET)
    parts = [
        gather(_WORDS, values, {"kept_epoch": epochs}),
        _count_first(trait_PRN, stage_RN, dataset.y_train),
        _count_stay(below_TRN, stage_RN),
    ]
    found = xr.merge(parts, combine_attrs="no_conflicts")
    found = found.assign_coords(stage=list(STAGES), trait=list(traits))
    return found.assign(ratio=find_ratios(found))


def _find_common(loss_RN: Array, spec: RunSpec) -> Array:
    """Whether all replicas have an example below the clip, [N]."""
    common_N: Array = (loss_RN > -np.log(spec.training.eps)).all(axis=0)
    return common_N


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
    values = {"num_first": (dims, first), "num_risk": (dims, risk)}
    return gather(_WORDS, values, {})


def _count_stay(below_TRN: Array, stage_RN: Array) -> xr.Dataset:
    """By kept epoch, stage and replica: how many are below, and at the next one too."""
    next_TRN = np.concatenate([below_TRN[1:], np.zeros_like(below_TRN[:1])])
    members = [below_TRN & (stage_RN == s) for s in range(len(STAGES))]
    dims = ("stage", "kept_epoch", "replica")
    values = {
        "num_still": (dims, [one.sum(axis=2) for one in members]),
        "num_stay": (dims, [(one & next_TRN).sum(axis=2) for one in members]),
    }
    return gather(_WORDS, values, {})


def _read_curves(store: Store, spec: RunSpec, num_examples: int) -> xr.Dataset:
    """Loss, abandoned share and deviation of the run, as recorded."""
    records = store.records(spec.run_key, distributions=False)
    last = max(store.weights_epochs(spec.run_key))
    epochs = records["epoch"].to_numpy()
    recorded = np.isin(epochs, spec.recorded_epochs)
    step = np.flatnonzero(recorded & (epochs >= 1) & (epochs <= last))
    curves = {n: records[n].to_numpy()[step] for n in ("train_loss", "abandoned")}
    found = name_curves(curves, num_examples, epochs[step])
    return found.assign(deviation=name_deviation(records, step, "epoch"))


def count_contradictions(dataset: Dataset) -> dict[str, Any]:
    """Facts of equal images with more than one label, whatever the network does.

    The `least_share` is that of a label among the equal images of an example. The
    `floor` is the loss summed over these examples, in nat, where each label has its
    share of the probability; `tied_floor` that of the tied ones alone.
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


def show_examples(
    store: Store,
    spec: RunSpec,
    epoch: int,
    dataset: Dataset,
    x_NI: Tensor,
    loss_RN: Array,
) -> xr.Dataset:
    """Images of examples that all replicas have below the clip at an epoch.

    They are drawn at random, and stand in the order of the data. Beside each the image
    of its label, and that of the class that the first replica gives it, with the
    smallest mean loss.
    """
    common = np.flatnonzero(_find_common(loss_RN, spec))
    random = stream(spec.run.seed, 0, "pictures", "abandoned")
    shown = np.sort(random.choice(common, min(COUNT, len(common)), replace=False))
    weights = take_replicas(as_tensors(store.weights(spec.run_key, epoch)), [0])
    z_1NK = forward_stack(weights, x_NI[shown], spec.network.activation)
    y_N, loss_N = dataset.y_train, loss_RN.mean(axis=0)
    # of a class the example with the smallest loss
    easiest = {k: np.where(y_N == k, loss_N, np.inf).argmin() for k in np.unique(y_N)}
    beside = [y_N[shown], z_1NK[0].argmax(dim=1).numpy()]
    rows = [shown, *([easiest[k] for k in classes] for classes in beside)]
    pixels = dataset.x_train[np.array(rows, dtype=int)].astype(np.int16)
    picture = {"picture": (("row", "shown", "pixel"), pixels)}
    return gather(_WORDS, picture, {"row": ROWS}).assign_attrs(
        num_common=len(common),
        full_scale=dataset.full_scale,
        image_height=dataset.image_shape[0],
    )
