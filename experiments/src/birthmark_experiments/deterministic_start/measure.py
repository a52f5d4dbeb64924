"""Hold the comparison, look at what it kept of the starts, and count flipped gates.

A gate is whether a hidden unit is above 0 for an input. In the lazy regime a unit's
incoming weights move by about width^-1/2, and so do the share of gates that flip (Du et
al. 1810.02054; Chizat, Oyallon & Bach 1812.07956).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from torch import Tensor
from torch.nn.functional import relu

from birthmark.data import load_dataset
from birthmark.network import name_parameters, parametrize
from birthmark.shapes import Array, Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store, open_store
from birthmark.sweeps import Grid, run_grid
from birthmark.training import initial_configuration
from birthmark_experiments.deterministic_start.protocol import (
    NTK_LRS,
    STANDARD,
    Protocol,
    describe,
    list_specs,
)
from birthmark_experiments.deterministic_start.spaces import measure_few, measure_spaces
from birthmark_experiments.frame import variable
from birthmark_experiments.frame.comparisons import run_comparison
from birthmark_experiments.frame.descent import Parameters, descend
from birthmark_experiments.frame.probes import as_inputs, as_tensors

_NUM_INPUTS = 1000  # test inputs at which gates are read


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Hold the comparison, and look at what it kept of the starts."""
    store = open_store(folder, create=True)
    dataset = load_dataset(protocol.spec.data)
    specs = list_specs(protocol.spec, protocol.starts)
    results = run_comparison(specs, store)
    spaces = measure_spaces(specs, store, dataset, protocol.num_images)
    few_specs = list_specs(protocol.few, protocol.few_starts)
    run_grid(Grid(tuple(few_specs.values())), store)
    few = measure_few(few_specs, store, load_dataset(protocol.few.data))
    gates = count_flips(
        protocol.gates, protocol.widths, store, load_dataset(protocol.gates.data)
    )
    gates = gates.rename(replica="gate_replica")
    joined = xr.merge([results, spaces, few, gates], combine_attrs="drop_conflicts")
    joined.attrs |= {
        "protocol": describe(protocol, dataset),
        "num_inputs": dataset.num_inputs,
        "width": protocol.spec.network.widths[0],
        "num_images": protocol.num_images,
    }
    return joined


def count_flips(
    spec: RunSpec, widths: Sequence[int], store: Store, dataset: Dataset
) -> xr.Dataset:
    """Gates of one hidden layer that flip from the start to the end of a training.

    `standard` has one learning rate. The others start at the same weights and are
    trained as the NTK parametrization is: a layer that is applied with a multiplier m
    moves as one without, at m^2 times the learning rate (Jacot et al. 1806.07572).

    Returns:
        `flips` and `gate_loss` (parametrization, width, replica).
    """
    specs = [spec.with_settings({"network.widths": [width]}) for width in widths]
    done = run_grid(Grid(tuple(specs)), store)
    x_NI, _ = as_inputs(dataset, "test", _NUM_INPUTS)
    flips, losses = np.full(
        (2, 1 + len(NTK_LRS), len(widths), spec.run.replicas), np.nan
    )
    for place, (one, result) in enumerate(zip(specs, done, strict=True)):
        start, end = (
            as_tensors(store.weights(one.run_key, epoch))["hidden1"]
            for epoch in (0, spec.training.epochs)
        )
        records = store.records(result.run_key, distributions=False)
        losses[0, place] = records["train_loss"][-1]
        for row in range(spec.run.replicas):
            flips[0, place, row] = flipped_share(
                (start.w[row], start.b[row]), (end.w[row], end.b[row]), x_NI
            )
        for arm, lr in enumerate(NTK_LRS.values(), start=1):
            found = train_ntk(one, dataset, x_NI, lr)
            flips[arm, place], losses[arm, place] = found
    dims = ("parametrization", "width", "replica")
    return xr.Dataset(
        {
            "flips": variable(
                dims, flips, "share of gates that flipped since the start"
            ),
            "gate_loss": variable(
                dims, losses, "train loss of the last epoch as visited", "nat"
            ),
        },
        {
            "parametrization": [STANDARD, *NTK_LRS],
            "width": np.array(widths, dtype=np.int32),
        },
    )


def flipped_share(
    start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor], x_NI: Tensor
) -> float:
    """Share of (unit, input) pairs on another side of 0, weights [I, O], biases [O]."""
    before, after = (x_NI @ w + b > 0 for w, b in (start, end))
    return float((before != after).float().mean())


def train_ntk(
    spec: RunSpec, dataset: Dataset, x_NI: Tensor, lr: float
) -> tuple[Array, Array]:
    """Flips at these inputs and last train losses of all replicas, each [R].

    Args:
        spec: Start, data and protocol; its learning rate does not count.
        dataset: To train on.
        x_NI: At which gates are read.
        lr: In terms of the NTK parametrization.
    """
    sizes = (dataset.num_inputs, *spec.network.widths, dataset.num_classes)
    scalings = parametrize("ntk", sizes)
    factors = {
        f"{layer}.{kind}": lr * scaling.multiplier**2 / spec.training.lr
        for layer, scaling in zip(spec.network.layer_names, scalings, strict=True)
        for kind in "wb"
    }
    stack = name_parameters(initial_configuration(spec))
    flips, losses = [], []
    for replica in range(spec.run.replicas):
        start = {name: tensor[replica] for name, tensor in stack.items()}
        *_, last = descend(
            start, dataset, spec, replica=replica, forward=_forward, factors=factors
        )
        pair = [(p["hidden1.w"], p["hidden1.b"]) for p in (start, last.parameters)]
        flips.append(flipped_share(pair[0], pair[1], x_NI))
        losses.append(last.train_loss)
    return np.array(flips), np.array(losses)


def _forward(p: Parameters, x_BI: Tensor) -> Tensor:
    return relu(x_BI @ p["hidden1.w"] + p["hidden1.b"]) @ p["output.w"] + p["output.b"]
