"""Signals at the start, then a scan of learning rates, then the comparison."""

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
from ..frame import gather, variable
from ..frame.comparisons import run_comparison
from ..frame.probes import stack_curves, train_all
from .facts import GAP_FLOOR, PLATEAU
from .protocol import INITIALIZATIONS, Protocol, describe, spec_of

_LEVELS = tuple(share * math.log(10) for share in (PLATEAU, 0.75, 0.5))
_READINGS = {
    "forward": ("second moment of pre-activations over that of the inputs", "log2"),
    "backward": ("second moment of the gradient by the pre-activations", "log2"),
    "gap": ("1 - correlation of two inputs' pre-activations", "log10"),
}
_WORDS = {
    **_READINGS,
    **{f"{n}_theory": (f"{x}, theory", unit) for n, (x, unit) in _READINGS.items()},
    "scan_loss": ("test loss after the last step, scan of rates", "nat"),
    "scan_lr": ("lr", "1"),
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
    wide = spec_of(protocol, "convolutional", "He", lr=1.0)
    shape = load_dataset(wide.data).example_shape
    results.attrs = {
        "protocol": describe(protocol),
        "width": protocol.networks["dense"]["network"]["widths"][0],
        "channels": protocol.networks["convolutional"]["network"]["widths"][0],
        # of the smallest maps, in places
        "side": int(Chain(wide.network, shape).hidden_shapes[-1][-1]),
    }
    return results


def read_signals(spec: RunSpec, dataset: Dataset, examples: int, draw: int) -> Array:
    """What the check-up reads of one initial configuration, and what it expects.

    [2, 3, L]: measured, theory; forward, backward, gap; hidden layers.
    """
    sizes, shape = (dataset.num_inputs, dataset.num_classes), dataset.example_shape
    weights = draw_weights(spec, *sizes, replicas=[draw], image_shape=shape)
    module = to_module(weights, Chain(spec.network, shape))
    pixels = dataset.x_test[:examples] / dataset.full_scale
    x = torch.from_numpy((pixels - dataset.mean) / dataset.std).float()
    y = torch.tensor(dataset.y_test[:examples])
    layers = check(module, (x, y), loss="cross_entropy").layers[:-1]
    read = ("forward", "backward", "correlation")
    found = [
        [[getattr(layer, f"{name}{kind}") for layer in layers] for name in read]
        for kind in ("", "_predicted")
    ]
    values = np.array(found, dtype=float)
    values[:, 0] = np.log2(values[:, 0] / layers[0].input)
    values[:, 1] = np.log2(values[:, 1])
    values[:, 2] = np.log10(np.maximum(1 - values[:, 2], GAP_FLOOR))
    return values


def _measure_signals(protocol: Protocol, network: str) -> xr.Dataset:
    specs = [spec_of(protocol, network, start, lr=1.0) for start in INITIALIZATIONS]
    dataset, draws = load_dataset(specs[0].data), range(protocol.draws)
    found_ADKNL = np.array(
        [
            [read_signals(one, dataset, protocol.examples, draw) for draw in draws]
            for one in specs
        ],
        dtype=np.float32,
    )
    dims = ("initialization", "draw", "layer")
    values = {
        f"{name}{kind}": (dims, found_ADKNL[:, :, k, n])
        for n, name in enumerate(_READINGS)
        for k, kind in enumerate(("", "_theory"))
    }
    layers = range(1, found_ADKNL.shape[-1] + 1)
    coords = {"initialization": list(INITIALIZATIONS), "draw": draws, "layer": layers}
    return gather(_WORDS, values, coords)


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
        losses[place] = stack_curves(train_all(specs, store), "test_loss")[:, -1, 0]
    dims = ("trial", "initialization")
    values = {"scan_loss": (dims, losses), "scan_lr": ("trial", list(lrs))}
    return gather(
        _WORDS, values, {dims[0]: range(len(lrs)), dims[1]: list(INITIALIZATIONS)}
    )


def _choose_lrs(scan: xr.Dataset) -> dict[str, float]:
    """By start the rate at which it ended lowest in the scan."""
    losses = scan["scan_loss"].fillna(np.inf)
    best = scan["scan_lr"].isel(trial=losses.argmin("trial"))
    return dict(zip(INITIALIZATIONS, map(float, best), strict=True))
