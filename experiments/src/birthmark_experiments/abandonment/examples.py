"""Which examples are abandoned: followed one by one, from kept weights."""

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn.functional import cross_entropy

from birthmark.network import forward_stack
from birthmark.shapes import Array, Dataset, Weights
from birthmark.spec import RunSpec
from birthmark.store import Store
from ..frame import gather
from ..frame.probes import as_inputs, as_tensors
from .contradictions import count_labels, find_neighbours
from .facts import HARD_EPOCH

_BLOCK = 8192  # examples at a time
_WORDS = {
    "first_below": ("first kept epoch below the clip; -1: none", "epochs"),
    "num_below": ("examples below the clip", "1"),
    "num_stay": ("of these, at the next kept epoch still below", "1"),
    "early_loss": (f"loss of an example at epoch {HARD_EPOCH}", "nat"),
    "odd_neighbour": ("whether the nearest other image has another label", "1"),
    "label": ("class", "1"),
}


def follow_examples(store: Store, spec: RunSpec, dataset: Dataset) -> xr.Dataset:
    """Probabilities of the true class at the kept epochs, against the clip."""
    x_NI, y_N = as_inputs(dataset, "train")
    epochs = store.weights_epochs(spec.run_key)
    losses_TRN = np.stack(
        [find_losses(store, spec, epoch, x_NI, y_N) for epoch in epochs]
    )
    below_TRN = losses_TRN > -np.log(spec.training.eps)
    first_RN = np.where(
        below_TRN.any(axis=0), np.array(epochs)[below_TRN.argmax(axis=0)], -1
    )
    where, each, y = (
        ("followed_epoch", "replica"),
        ("replica", "example"),
        dataset.y_train,
    )
    values = {
        "first_below": (each, first_RN),
        "num_below": (where, below_TRN[:-1].sum(axis=2)),
        "num_stay": (where, (below_TRN[:-1] & below_TRN[1:]).sum(axis=2)),
        "early_loss": (each, losses_TRN[epochs.index(HARD_EPOCH)]),
        "odd_neighbour": ("example", y[find_neighbours(dataset, 1)[:, 0]] != y),
        "label": ("example", y),
    }
    found = gather(_WORDS, values, {"followed_epoch": epochs[:-1]})
    num_ambiguous = int(count_labels(dataset).contradicts.sum())
    return found.assign_attrs(num_ambiguous=num_ambiguous)


def find_losses(
    store: Store, spec: RunSpec, epoch: int, x_NI: Tensor, y_N: Tensor
) -> Array:
    """The loss from logits of every example at a kept epoch, [R, N]."""
    weights = as_tensors(store.weights(spec.run_key, epoch))
    return compute_losses(weights, x_NI, y_N, spec.network.activation)


def compute_losses(
    weights: Weights, x_NI: Tensor, y_N: Tensor, activation: str
) -> Array:
    """The loss from logits of every example, [R, N]."""
    found = []
    with torch.no_grad():
        halves = (torch.split(part, _BLOCK) for part in (x_NI, y_N))
        for x, y in zip(*halves, strict=True):
            z_RBK = forward_stack(weights, x, activation)
            targets_RB = y.expand(z_RBK.shape[:2])
            found.append(cross_entropy(z_RBK.mT, targets_RB, reduction="none"))
    values: Array = torch.cat(found, dim=1).numpy()
    return values
