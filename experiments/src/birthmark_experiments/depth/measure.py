"""Signals at the start, then a scan of learning rates, then the comparison."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from birthmark.checkup import check
from birthmark.data import load_dataset
from birthmark.network import Chain, draw_weights, to_module
from birthmark.shapes import Array, Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store, open_store
from birthmark.sweeps import Grid, run_grid
from birthmark_experiments.depth.facts import GAP_FLOOR, PLATEAU
from birthmark_experiments.depth.protocol import (
    INITIALIZATIONS,
    Protocol,
    describe,
    spec_of,
)
from birthmark_experiments.frame import variable, variables
from birthmark_experiments.frame.comparisons import run_comparison

_LEVELS = tuple(share * math.log(10) for share in (PLATEAU, 0.75, 0.5))
_READINGS = {
    "forward": ("second moment of pre-activations over that of the inputs", "log2"),
    "backward": ("second moment of the gradient by the pre-activations", "log2"),
    "gap": ("1 - correlation of two inputs' pre-activations", "log10"),
}


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Signals at the start, then a scan of learning rates, then the comparison."""
    store = open_store(folder / "store", create=True)
    by_network = []
    for name in protocol.networks:
        signals = _measure_signals(protocol, name)
        scan = _scan(protocol, name, store)
        lrs = _choose_lrs(scan)
        specs = {
            start: spec_of(protocol, name, start, lr=lr) for start, lr in lrs.items()
        }
        comparison = run_comparison(specs, store, losses=_LEVELS)
        merged = xr.merge([signals, scan, comparison], join="exact")
        chosen = list(lrs.values())
        merged["chosen_lr"] = variable("initialization", chosen, "lr of the comparison")
        by_network.append(merged)
    results = xr.concat(by_network, "network", data_vars="all", join="outer")
    results = results.assign_coords(network=list(protocol.networks))
    results.attrs = {
        "protocol": describe(protocol),
        "width": protocol.networks["dense"]["network"]["widths"][0],
        "channels": protocol.networks["convolutional"]["network"]["widths"][0],
        "side": _smallest_side(protocol),
    }
    return results


def _smallest_side(protocol: Protocol) -> int:
    """Of the maps of the convolutional network, in places."""
    spec = spec_of(protocol, "convolutional", "He", lr=1.0)
    shape = load_dataset(spec.data).example_shape
    return int(Chain(spec.network, shape).hidden_shapes[-1][-1])


def read_signals(spec: RunSpec, dataset: Dataset, examples: int, draw: int) -> Array:
    """What the check-up reads of one initial configuration, and what it expects.

    Returns:
        [3, 2, L]: forward, backward, gap; measured, theory; hidden layers.
    """
    weights = draw_weights(
        spec,
        dataset.num_inputs,
        dataset.num_classes,
        replicas=[draw],
        image_shape=dataset.example_shape,
    )
    module = to_module(weights, Chain(spec.network, dataset.example_shape))
    pixels = dataset.x_test[:examples] / dataset.full_scale
    x = torch.from_numpy((pixels - dataset.mean) / dataset.std).float()
    y = torch.tensor(dataset.y_test[:examples])
    layers = check(module, (x, y), loss="cross_entropy").layers[:-1]
    moment = layers[0].input
    found = [
        [[layer.forward, layer.forward_predicted] for layer in layers],
        [[layer.backward, layer.backward_predicted] for layer in layers],
        [[layer.correlation, layer.correlation_predicted] for layer in layers],
    ]
    values = np.array(found, dtype=float)
    values[0] = np.log2(values[0] / moment)
    values[1] = np.log2(values[1])
    values[2] = np.log10(np.maximum(1 - values[2], GAP_FLOOR))
    return values.transpose(0, 2, 1)


def _measure_signals(protocol: Protocol, network: str) -> xr.Dataset:
    spec = spec_of(protocol, network, "He", lr=1.0)
    dataset = load_dataset(spec.data)
    found = np.array(
        [
            [
                read_signals(
                    spec_of(protocol, network, start, lr=1.0),
                    dataset,
                    protocol.examples,
                    draw,
                )
                for draw in range(protocol.draws)
            ]
            for start in INITIALIZATIONS
        ]
    )  # [initialization, draw, reading, 2, layer]
    dims, depth = ("initialization", "draw", "layer"), found.shape[-1]
    words = _READINGS | {
        f"{name}_theory": (f"{long_name}, theory", units)
        for name, (long_name, units) in _READINGS.items()
    }
    # first what was measured, then theory, as in the words
    values = np.moveaxis(found, (3, 2), (0, 1)).reshape(-1, *found.shape[:2], depth)
    return xr.Dataset(
        variables(dims, words, dict(zip(words, values, strict=True))),
        {
            "initialization": list(INITIALIZATIONS),
            "draw": np.arange(protocol.draws, dtype=np.int32),
            "layer": np.arange(1, depth + 1, dtype=np.int32),
        },
    )


def _scan(protocol: Protocol, network: str, store: Store) -> xr.Dataset:
    """Final test losses of one replica of another seed at each learning rate.

    Where only one rate comes into question, nothing is trained, and there is no loss.
    """
    lrs = protocol.lrs[network]
    losses = np.full((len(lrs), len(INITIALIZATIONS)), np.nan, dtype=np.float32)
    for place, lr in enumerate(lrs if len(lrs) > 1 else ()):
        specs = [
            spec_of(protocol, network, start, lr=lr, scan=True)
            for start in INITIALIZATIONS
        ]
        for start, one in enumerate(run_grid(Grid(tuple(specs)), store)):
            records = one.store.records(one.run_key, distributions=False)
            losses[place, start] = records["test_loss"].to_numpy()[-1, 0]
    return xr.Dataset(
        {
            "scan_loss": variable(
                ("trial", "initialization"),
                losses,
                "test loss after the last step, scan of rates",
                "nat",
            ),
            "scan_lr": variable("trial", list(lrs), "lr"),
        },
        {
            "initialization": list(INITIALIZATIONS),
            "trial": np.arange(len(lrs), dtype=np.int32),
        },
    )


def _choose_lrs(scan: xr.Dataset) -> dict[str, float]:
    """By start the rate at which it ended lowest in the scan."""
    losses = scan["scan_loss"].fillna(np.inf)
    best = scan["scan_lr"].isel(trial=losses.argmin("trial"))
    return dict(zip(INITIALIZATIONS, map(float, best), strict=True))
