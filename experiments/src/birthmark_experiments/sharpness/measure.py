"""Train all arms; curvature at their looks, curves, and moments of the inputs."""

from __future__ import annotations

from pathlib import Path

import torch
import xarray as xr
from torch import Tensor

from birthmark.data import load_dataset
from birthmark.store import open_store
from birthmark.sweeps import Grid, run_grid
from birthmark_experiments.frame import variable
from birthmark_experiments.frame.probes import as_inputs
from birthmark_experiments.sharpness.protocol import (
    Protocol,
    describe,
    find_looks,
    list_arms,
    spec_of,
)
from birthmark_experiments.sharpness.readings import read_run

_MOMENTS = {
    "square_norm": ("mean squared norm of an input", "1"),
    "mean_square_norm": ("squared norm of the mean input", "1"),
    "top_moment": ("largest eigenvalue of the second moments of the inputs", "1"),
}


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Train all arms; curvature at their looks, curves, and moments of the inputs."""
    store = open_store(folder / "store", create=True)
    arms = list_arms(protocol)
    specs = [spec_of(protocol, arm) for arm in arms]
    run_grid(Grid(tuple(specs)), store)
    by_arm = [
        read_run(
            spec,
            folder,
            find_looks(protocol, arm),
            sample=protocol.sample,
            batches=protocol.batches,
            is_focus=(arm.pixels, arm.lr) == protocol.focus and arm.loss == "clipped",
        )
        for arm, spec in zip(arms, specs, strict=True)
    ]
    results = xr.concat(by_arm, "arm", join="outer", combine_attrs="drop_conflicts")
    results = results.assign_coords(arm=[arm.name for arm in arms])
    for field in ("pixels", "loss"):
        texts = [str(getattr(arm, field)) for arm in arms]
        results[field] = variable("arm", texts, f"{field} of the arm", "text")
    results["lr"] = variable("arm", [arm.lr for arm in arms], "learning rate")
    moments = {}
    for pixels, preprocessing in protocol.inputs.items():
        data = specs[0].with_settings({"data.preprocessing": preprocessing}).data
        moments[pixels] = read_moments(as_inputs(load_dataset(data), "train")[0])
    for name, words in _MOMENTS.items():
        values = [moments[pixels][name] for pixels in moments]
        results[name] = variable("input", values, *words)
    results = results.assign_coords(input=list(moments))
    dataset = load_dataset(specs[0].data)
    results.attrs = {
        "protocol": describe(protocol, len(dataset.y_train)),
        "num_classes": dataset.num_classes,
        "eps": protocol.eps,
        "focus": f"{protocol.focus[0]} {protocol.focus[1]:g}",
        "sample": protocol.sample,
        "batches": protocol.batches,
    }
    return results


def read_moments(x_NI: Tensor) -> dict[str, float]:
    """Second moments of the inputs: what scales the curvature of a first layer."""
    x = x_NI.double()
    moments_II = x.T @ x / len(x)
    return {
        "square_norm": float(moments_II.trace()),
        "mean_square_norm": float(x.mean(dim=0).square().sum()),
        "top_moment": float(torch.linalg.eigvalsh(moments_II)[-1]),
    }
