"""Matrices of weights that were kept, as the page draws them."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from birthmark.errors import StoreError
from birthmark.store import Store

_LARGEST = 512  # rows or columns; of larger matrices every second, third, ... is sent


def describe_weights(store: Store, run_key: str) -> dict[str, Any]:
    """The epochs whose weights were kept, and the layers that they have.

    Raises:
        StoreError: There is no such run, or a file is damaged.
    """
    epochs = store.weights_epochs(run_key)
    layers = list(store.weights(run_key, epochs[0])) if epochs else []
    marked = store.description(run_key).columns.get("mark.layer")
    return {"epochs": epochs, "layers": layers, "marked": marked}


def read_weights(store: Store, run_key: str, epoch: int, layer: str) -> dict[str, Any]:
    """One matrix of the first replica, on the scale of the start.

    Raises:
        StoreError: It was not kept, or the file is damaged.
    """
    kept = store.weights(run_key, epoch)
    if layer not in set(kept):
        raise StoreError(
            f"run {run_key} has no layer {layer!r}: it has {', '.join(kept)}"
        )
    start = store.weights(run_key, store.weights_epochs(run_key)[0])
    bound = float(np.abs(np.asarray(start[layer].w)[0]).max())
    w_IO = np.asarray(kept[layer].w)[0]
    rows, columns = (-(-size // _LARGEST) for size in w_IO.shape)
    shown = np.ascontiguousarray(w_IO[::rows, ::columns], dtype="<f4")
    return {
        "shape": shown.shape,
        "left_out": [rows - 1, columns - 1],
        "bound": bound if math.isfinite(bound) and bound else 1.0,
        "values": base64.b64encode(shown.tobytes()).decode(),
    }
