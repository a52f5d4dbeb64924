"""Which examples are abandoned: followed one by one, from kept weights."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn.functional import cross_entropy

from birthmark.network import forward_stack
from birthmark.shapes import Array, Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store
from birthmark_experiments.abandonment.contradictions import (
    count_labels,
    find_neighbours,
)
from birthmark_experiments.abandonment.facts import HARD_EPOCH
from birthmark_experiments.frame import variable
from birthmark_experiments.frame.probes import as_inputs, as_tensors

_BLOCK = 8192  # examples at a time


def follow_examples(store: Store, spec: RunSpec, dataset: Dataset) -> xr.Dataset:
    """Probabilities of the true class at the kept epochs, against the clip.

    Returns:
        `first_below` (replica, example): the first kept epoch with a probability below
        the clip, -1 if none. `num_below`, `num_stay` (followed_epoch, replica): how
        many are below, and how many of them at the next kept epoch still.
        `early_loss` (replica, example), `odd_neighbour` and `label` (example).
    """
    x_NI, y_N = as_inputs(dataset, "train")
    epochs = store.weights_epochs(spec.run_key)
    losses_TRN = np.stack(
        [find_losses(store, spec, epoch, x_NI, y_N) for epoch in epochs]
    )
    below_TRN = losses_TRN > -np.log(spec.training.eps)
    first_RN = np.where(
        below_TRN.any(axis=0), np.array(epochs)[below_TRN.argmax(axis=0)], -1
    )
    hard, y = epochs.index(HARD_EPOCH), dataset.y_train
    where = ("followed_epoch", "replica")
    return xr.Dataset(
        {
            "first_below": variable(
                ("replica", "example"),
                first_RN,
                "first kept epoch below the clip; -1: none",
                "epochs",
            ),
            "num_below": variable(
                where, below_TRN[:-1].sum(axis=2), "examples below the clip"
            ),
            "num_stay": variable(
                where,
                (below_TRN[:-1] & below_TRN[1:]).sum(axis=2),
                "of these, at the next kept epoch still below",
            ),
            "early_loss": variable(
                ("replica", "example"),
                losses_TRN[hard],
                f"loss of an example at epoch {HARD_EPOCH}",
                "nat",
            ),
            "odd_neighbour": variable(
                "example",
                y[find_neighbours(dataset, 1)[:, 0]] != y,
                "whether the nearest other image has another label",
            ),
            "label": variable("example", dataset.y_train, "class"),
        },
        {"followed_epoch": np.array(epochs[:-1], dtype=np.int32)},
        {"num_ambiguous": int(count_labels(dataset).contradicts.sum())},
    )


def find_losses(
    store: Store, spec: RunSpec, epoch: int, x_NI: Tensor, y_N: Tensor
) -> Array:
    """The loss from logits of every example at a kept epoch, [R, N]."""
    weights = as_tensors(store.weights(spec.run_key, epoch))
    found = []
    with torch.no_grad():
        for x, y in zip(
            torch.split(x_NI, _BLOCK), torch.split(y_N, _BLOCK), strict=True
        ):
            z_RBK = forward_stack(weights, x, spec.network.activation)
            targets = y.expand(z_RBK.shape[:2])
            losses = cross_entropy(
                z_RBK.flatten(0, 1), targets.flatten(), reduction="none"
            )
            found.append(losses.view(z_RBK.shape[:2]))
    values: Array = torch.cat(found, dim=1).numpy()
    return values
