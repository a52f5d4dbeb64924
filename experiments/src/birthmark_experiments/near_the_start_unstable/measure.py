"""Curves of all arms, and losses on lines and with layers put back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from birthmark.data import load_dataset
from birthmark.network import forward_stack, gather_layers
from birthmark.shapes import Array, Dataset
from birthmark_experiments.frame import labelled, variables
from birthmark_experiments.frame.probes import as_inputs
from birthmark_experiments.near_the_start.points import (
    Parameters,
    distances,
    mix_points,
    put_back,
)
from birthmark_experiments.near_the_start_unstable.conditions import (
    Free,
    carry_out,
    read_free,
    train_freely,
    zeros,
)
from birthmark_experiments.near_the_start_unstable.protocol import (
    LOSSES,
    Protocol,
    describe_arms,
)

_POINTS = {
    "train_loss": ("clipped loss, whole training set", "nat"),
    "train_accuracy": ("accuracy, whole training set", "1"),
    "below_eps": ("share of examples with a true class below the clip", "1"),
}


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Curves of all arms, and losses on lines and with layers put back.

    Each arm is saved in the folder when it is done, so that what was stopped goes on.
    """
    frees = {loss: train_freely(protocol, loss, folder) for loss in LOSSES}
    spec = frees["clipped"].spec
    dataset = load_dataset(spec.data)
    curves = [
        read_free(frees[arm.loss], dataset)
        if arm.kind == "free"
        else carry_out(arm, protocol, frees[arm.loss], dataset, folder)
        for arm in protocol.arms
    ]
    results = xr.merge(
        [
            xr.concat(curves, dim="arm").assign_coords(
                arm=[arm.name for arm in protocol.arms],
                loss=("arm", [arm.loss for arm in protocol.arms]),
                kind=("arm", [arm.kind for arm in protocol.arms]),
                size=("arm", [arm.size for arm in protocol.arms]),
            ),
            _look_around(protocol, frees["clipped"], dataset),
        ]
    )
    for name, long_name, units, found in (
        (
            "best_epoch",
            "kept epoch with the lowest train loss",
            "epochs",
            [free.best_R for free in frees.values()],
        ),
        (
            "best_way",
            "distance from the start there",
            "weight",
            [distances(free.best, free.start) for free in frees.values()],
        ),
    ):
        words = labelled(long_name, units)
        results[name] = (("free", "replica"), np.array(found, dtype=np.float32), words)
    norms = distances(frees["clipped"].start, zeros(frees["clipped"].start))
    words = labelled("norm of the start", "weight")
    results["start_norm"] = ("replica", norms.astype(np.float32), words)
    results.attrs = {
        "protocol": describe_arms(protocol, len(dataset.y_train)),
        "eps": protocol.eps,
        "epochs": protocol.epochs,
        "every": protocol.every,
    }
    return results.assign_coords(free=list(frees))


def _look_around(protocol: Protocol, free: Free, dataset: Dataset) -> xr.Dataset:
    """On the lines to the best point and to the end, and with layers put back."""
    layers = list(free.spec.network.layer_names)
    tips = {"best": free.best, "last": free.last}
    lines = [
        _evaluate(
            [mix_points(free.start, tip, alpha) for alpha in protocol.alphas],
            dataset,
            protocol.eps,
            ("alpha", list(protocol.alphas)),
            "line",
        )
        for tip in tips.values()
    ]
    resets = []
    for tip in tips.values():
        points = put_back(tip, free.start, layers)
        labels = ("reset", list(points))
        resets.append(
            _evaluate(list(points.values()), dataset, protocol.eps, labels, "reset")
        )
    whole = [xr.concat(one, dim="tip") for one in (lines, resets)]
    return xr.merge(whole).assign_coords(tip=list(tips))


def _evaluate(
    points: list[Parameters],
    dataset: Dataset,
    eps: float,
    labels: tuple[str, list[Any]],
    prefix: str,
) -> xr.Dataset:
    """The clipped loss and accuracy of the training set at points."""
    x_NI, y_N = as_inputs(dataset, "train")
    found: dict[str, list[Array]] = {name: [] for name in _POINTS}
    for parameters in points:
        z_RNK = forward_stack(gather_layers(parameters), x_NI, "relu")
        p_RN = z_RNK.softmax(dim=-1)[:, torch.arange(len(y_N)), y_N].double()
        right_RN = z_RNK.argmax(dim=-1) == y_N
        found["train_loss"].append(-p_RN.clamp(eps, 1 - eps).log().mean(dim=1).numpy())
        found["train_accuracy"].append(right_RN.double().mean(dim=1).numpy())
        found["below_eps"].append((p_RN < eps).double().mean(dim=1).numpy())
    dim, values = labels
    return xr.Dataset(
        variables((dim, "replica"), _POINTS, found, f"{prefix}_"),
        {dim: values},
    )
