"""Train all arms; curvature at their looks, curves, and moments of the inputs."""

from pathlib import Path

import torch
import xarray as xr
from torch import Tensor

from birthmark.data import load_dataset
from birthmark.store import open_store
from ..frame import gather
from ..frame.probes import as_inputs, train_all
from .protocol import Protocol, describe, find_looks, list_arms, spec_of
from .readings import read_run

_WORDS = {
    "pixels": ("pixels of the arm", "text"),
    "loss": ("loss of the arm", "text"),
    "lr": ("learning rate", "1"),
    "square_norm": ("mean squared norm of an input", "1"),
    "mean_square_norm": ("squared norm of the mean input", "1"),
    "top_moment": ("largest eigenvalue of the second moments of the inputs", "1"),
}


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Train all arms; curvature at their looks, curves, and moments of the inputs."""
    arms = list_arms(protocol)
    specs = [spec_of(protocol, arm) for arm in arms]
    train_all(specs, open_store(folder / "store", create=True))
    how = {"sample": protocol.sample, "batches": protocol.batches}
    by_arm = []
    for arm, spec in zip(arms, specs, strict=True):
        looks, here = find_looks(protocol, arm), (arm.pixels, arm.lr)
        is_focus = here == protocol.focus and arm.loss == "clipped"
        by_arm.append(read_run(spec, folder, looks, is_focus=is_focus, **how))
    results = xr.concat(by_arm, "arm", join="outer", combine_attrs="drop_conflicts")
    results = results.assign_coords(arm=[arm.name for arm in arms])
    moments = []
    for preprocessing in protocol.inputs.values():
        data = specs[0].with_settings({"data.preprocessing": preprocessing}).data
        moments.append(read_moments(as_inputs(load_dataset(data), "train")[0]))
    values = {
        n: ("arm", [getattr(x, n) for x in arms]) for n in ("pixels", "loss", "lr")
    }
    values |= {name: ("input", [one[name] for one in moments]) for name in moments[0]}
    results = results.merge(gather(_WORDS, values, {"input": list(protocol.inputs)}))
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
