"""Some of those abandoned early, beside what their label and the network say."""

from __future__ import annotations

import numpy as np
import xarray as xr
from torch import Tensor

from birthmark.network import forward_stack
from birthmark.seeds import stream
from birthmark.shapes import Array, Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store
from birthmark_experiments.frame import labelled
from birthmark_experiments.frame.probes import as_tensors, take_replicas

COUNT = 12
ROWS = ("abandoned", "of its label", "of the class given")


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

    Returns:
        `picture` (row, shown, pixel), and how many there were to draw from.
    """
    common = np.flatnonzero((loss_RN > -np.log(spec.training.eps)).all(axis=0))
    random = stream(spec.run.seed, 0, "pictures", "abandoned")
    shown = np.sort(random.choice(common, min(COUNT, len(common)), replace=False))
    weights = take_replicas(as_tensors(store.weights(spec.run_key, epoch)), [0])
    z_1NK = forward_stack(weights, x_NI[shown], spec.network.activation)
    loss_N = loss_RN.mean(axis=0)
    easiest = [
        [_easiest(loss_N, dataset.y_train, int(k)) for k in classes]
        for classes in (dataset.y_train[shown], z_1NK[0].argmax(dim=1))
    ]
    return xr.Dataset(
        {
            "picture": (
                ("row", "shown", "pixel"),
                dataset.x_train[np.array([shown, *easiest], dtype=int)].astype(
                    np.int16
                ),
                labelled("pixels as stored", "1"),
            )
        },
        {"row": list(ROWS)},
        {
            "num_common": len(common),
            "full_scale": dataset.full_scale,
            "image_height": dataset.image_shape[0],
        },
    )


def _easiest(loss_N: Array, y_N: Array, label: int) -> int:
    """The example of a class with the smallest loss."""
    members = np.flatnonzero(y_N == label)
    return int(members[loss_N[members].argmin()])
