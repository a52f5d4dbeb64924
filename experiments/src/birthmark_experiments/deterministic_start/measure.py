"""Hold the comparison, look at what it kept of the starts, and count flipped gates.

The null space of the first layer is that of W in x W: an input that moves inside it
moves no unit. Its complement is the span of the units' incoming weights. Plain SGD
moves these within the span of the training inputs alone: every gradient is a sum of
inputs, so what lies outside of that span stays as it was drawn.

A gate is whether a hidden unit is above 0 for an input. In the lazy regime a unit's
incoming weights move by about width^-1/2, and so do the share of gates that flip (Du et
al. 1810.02054; Chizat, Oyallon & Bach 1812.07956).
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn.functional import relu

from birthmark.data import load_dataset
from birthmark.network import forward_stack, name_parameters, parametrize
from birthmark.seeds import stream
from birthmark.shapes import Array, Dataset, Weights
from birthmark.spec import RunSpec
from birthmark.store import Store, open_store, replacing
from birthmark.training import initial_configuration
from ..frame import gather
from ..frame.comparisons import run_comparison
from ..frame.descent import Parameters, descend
from ..frame.probes import as_inputs, read_ends, take_replicas, train_all
from .protocol import (
    MOMENTS,
    MOVES,
    NTK_LRS,
    PERMUTED,
    STANDARD,
    Protocol,
    describe,
    list_specs,
)

_NUM_INPUTS = 1000  # test inputs at which gates are read


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Hold the comparison, and look at what it kept of the starts."""
    store = open_store(folder, create=True)
    dataset = load_dataset(protocol.spec.data)
    file = folder / "dct-permuted.npz"
    if PERMUTED in protocol.starts and not file.exists():
        write_permuted(protocol.spec, file)
    specs = list_specs(protocol.spec, protocol.starts, str(file))
    results = run_comparison(specs, store)
    spaces = measure_spaces(specs, store, dataset, protocol.num_images)
    few_specs = list_specs(protocol.few, protocol.few_starts)
    train_all(few_specs.values(), store)
    few = measure_few(few_specs, store, load_dataset(protocol.few.data))
    examples = load_dataset(protocol.gates.data)
    gates = count_flips(protocol.gates, protocol.widths, store, examples)
    gates = gates.rename(replica="gate_replica")
    joined = xr.merge([results, spaces, few, gates], combine_attrs="drop_conflicts")
    joined.attrs |= {
        "protocol": describe(protocol, dataset),
        "num_inputs": dataset.num_inputs,
        "width": protocol.spec.network.widths[0],
        "num_images": protocol.num_images,
    }
    return joined


def write_permuted(spec: RunSpec, file: Path) -> None:
    """The weights of `dct` with the rows of the first layer in another order.

    It is what `dct` is for images whose pixels were shuffled; each replica has an order
    of its own, so that no lucky one decides.
    """
    [one] = list_specs(spec, ("dct",)).values()
    weights = {n: layer.w.numpy() for n, layer in initial_configuration(one).items()}
    w_RIO = weights["hidden1"]
    weights["hidden1"] = np.stack(
        [
            w_IO[
                stream(spec.run.seed, row, "permutation", "pixels").permutation(
                    len(w_IO)
                )
            ]
            for row, w_IO in enumerate(w_RIO)
        ]
    )
    with replacing(file) as temporary, temporary.open("wb") as opened:
        np.savez(opened, **{f"{name}.w": w for name, w in weights.items()})  # type: ignore[arg-type]


def count_flips(
    spec: RunSpec, widths: Sequence[int], store: Store, dataset: Dataset
) -> xr.Dataset:
    """Gates of one hidden layer that flip from the start to the end of a training.

    `standard` has one learning rate. The others start at the same weights and are
    trained as the NTK parametrization is: a layer that is applied with a multiplier m
    moves as one without, at m^2 times the learning rate (Jacot et al. 1806.07572).
    """
    specs = [spec.with_settings({"network.widths": [width]}) for width in widths]
    records = train_all(specs, store)
    x_NI, _ = as_inputs(dataset, "test", _NUM_INPUTS)
    shape = (1 + len(NTK_LRS), len(widths), spec.run.replicas)
    flips, losses = np.full(shape, np.nan), np.full(shape, np.nan)
    for place, (one, found) in enumerate(zip(specs, records, strict=True)):
        start, end = (weights["hidden1"] for weights in read_ends(store, one))
        losses[0, place] = found["train_loss"][-1]
        for row in range(spec.run.replicas):
            both = [(layer.w[row], layer.b[row]) for layer in (start, end)]
            flips[0, place, row] = flipped_share(both[0], both[1], x_NI)
        for arm, lr in enumerate(NTK_LRS.values(), start=1):
            flips[arm, place], losses[arm, place] = train_ntk(one, dataset, x_NI, lr)
    dims = ("parametrization", "width", "replica")
    values = {"flips": (dims, flips), "gate_loss": (dims, losses)}
    coords = {"parametrization": [STANDARD, *NTK_LRS], "width": widths}
    return gather(_WORDS, values, coords)


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

    The rate is that of the NTK parametrization; the one of the spec does not count.
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
        *_, last = descend(start, dataset, spec, replica, _forward, factors)
        pair = [(p["hidden1.w"], p["hidden1.b"]) for p in (start, last.parameters)]
        flips.append(flipped_share(pair[0], pair[1], x_NI))
        losses.append(last.train_loss)
    return np.array(flips), np.array(losses)


def _forward(p: Parameters, x_BI: Tensor) -> Tensor:
    return relu(x_BI @ p["hidden1.w"] + p["hidden1.b"]) @ p["output.w"] + p["output.b"]


_RANK_TOLERANCE = 1e-9  # of the largest eigenvalue of X'X: below it, no direction

_SPACES = {
    "row_overlap": ("mean squared cosine of the principal angles", "1"),
    "largest_angle": ("largest principal angle of the null spaces", "degree"),
    "row_share": ("share of the squared move in the initial row space", "1"),
    "outside_share": ("share of the move outside the span of the inputs", "1"),
    "outside_start": ("share of the start outside the span of the inputs", "1"),
}
_CLASSES = ("distance between classes over that within", "1")
_WORDS = {
    "flips": ("share of gates that flipped since the start", "1"),
    "gate_loss": ("train loss of the last epoch as visited", "nat"),
    "distortion": ("std over mean of the ratio of distances", "1"),
    "class_ratio": _CLASSES,
    "class_ratio_of_inputs": _CLASSES,
    "output_change": ("change of the outputs over that by a whole swap", "1"),
    "changed_share": ("share of predictions that change", "1"),
    "move_length": ("length of the move over that of a whole swap", "1"),
}


def span_of_inputs(dataset: Dataset) -> Tensor:
    """An orthonormal basis [I, D] of what the training inputs span, float64."""
    x_NI = as_inputs(dataset, "train")[0].double()
    values, vectors = torch.linalg.eigh(x_NI.T @ x_NI)
    span_ID: Tensor = vectors[:, values > _RANK_TOLERANCE * values[-1]]
    return span_ID


def compare_spaces(
    start_IO: Tensor, end_IO: Tensor, span_ID: Tensor
) -> dict[str, float]:
    """What `_SPACES` names, of one layer's weights before and after, float64."""
    row_start, row_end = (torch.linalg.qr(w).Q for w in (start_IO, end_IO))
    cosines = torch.linalg.svdvals(row_start.T @ row_end).clamp(0, 1)
    move_IO = end_IO - start_IO
    outside = [w - span_ID @ (span_ID.T @ w) for w in (move_IO, start_IO)]
    return {
        "row_overlap": float(cosines.square().mean()),
        "largest_angle": float(torch.rad2deg(torch.acos(cosines.min()))),
        "row_share": float((row_start.T @ move_IO).norm() / move_IO.norm()) ** 2,
        "outside_share": float(outside[0].norm() / move_IO.norm()),
        "outside_start": float(outside[1].norm() / start_IO.norm()),
    }


def measure_spaces(
    specs: Mapping[str, RunSpec], store: Store, dataset: Dataset, num_images: int
) -> xr.Dataset:
    """Null spaces, distances and moves of the compared runs, by initialization."""
    span_ID = span_of_inputs(dataset)
    x_NI, y_N = as_inputs(dataset, "test", num_images)
    both = [read_ends(store, spec) for spec in specs.values()]
    distances = [
        [
            [[read_distances(h, y_N, x_NI) for h in _hidden(w, x_NI)] for w in stacks]
            for stacks in _by_replica(ends)
        ]
        for ends in both
    ]
    moves = [
        [_move(ends, row, x_NI, spec.run.seed) for row in range(spec.run.replicas)]
        for ends, spec in zip(both, specs.values(), strict=True)
    ]
    dims = ("initialization", "replica")
    found_DC = np.moveaxis(np.array(distances, dtype=np.float32), -1, 0)
    found_MFL = np.moveaxis(np.array(moves, dtype=np.float32), 2, 0)
    by_layer, by_move = (*dims, "moment", "layer"), (*dims, "move", "moment")
    values = {
        "distortion": (by_layer, found_DC[0]),
        "class_ratio": (by_layer, found_DC[1]),
        "class_ratio_of_inputs": ((), read_distances(x_NI, y_N, x_NI)[1]),
        "output_change": (by_move, found_MFL[0]),
        "changed_share": (by_move, found_MFL[1]),
        "move_length": (by_move, found_MFL[2]),
    }
    layers = ["hidden1", "hidden2"]
    coords = {"moment": MOMENTS, "move": MOVES, "layer": layers}
    results = _measure_spaces(both, span_ID).merge(gather(_WORDS, values, coords))
    return results.assign_attrs(span=span_ID.shape[1])


def measure_few(
    specs: Mapping[str, RunSpec], store: Store, dataset: Dataset
) -> xr.Dataset:
    """The null spaces of runs on few examples; names begin with `few_`."""
    span_ID = span_of_inputs(dataset)
    both = [read_ends(store, spec) for spec in specs.values()]
    results = _measure_spaces(both, span_ID).assign_coords(initialization=list(specs))
    names = {name: f"few_{name}" for name in (*results, *results.dims)}
    return results.rename(names).assign_attrs(few_span=span_ID.shape[1])


def read_distances(h_NO: Tensor, y_N: Tensor, x_NI: Tensor) -> tuple[float, float]:
    """Distortion against the inputs (Giryes et al. 1504.08291), and class ratio.

    The first is the standard deviation over the mean of what each distance is
    multiplied by, 0 where all distances are kept up to one factor; the second the mean
    distance of examples of different classes over that of examples of one class.
    """
    i, j = torch.triu_indices(len(y_N), len(y_N), offset=1)
    before_P, after_P = (torch.cdist(v, v)[i, j] for v in (x_NI, h_NO))
    ratio_P = after_P / before_P
    same_P = y_N[i] == y_N[j]
    within, mean = after_P[same_P].mean(), float(ratio_P.mean())
    classes = float(after_P[~same_P].mean() / within) if within > 0 else math.nan
    return (float(ratio_P.std()) / mean if mean else math.nan), classes


def _measure_spaces(both: list[tuple[Weights, Weights]], span_ID: Tensor) -> xr.Dataset:
    """The first layers of each run, at the start and at the end."""
    firsts = [[weights["hidden1"].w.double() for weights in ends] for ends in both]
    found = [
        [compare_spaces(a, b, span_ID) for a, b in zip(start, end, strict=True)]
        for start, end in firsts
    ]
    dims = ("initialization", "replica")
    values = {n: (dims, [[x[n] for x in row] for row in found]) for n in _SPACES}
    return gather(_SPACES, values, {})


def _by_replica(ends: tuple[Weights, Weights]) -> list[list[Weights]]:
    """Start and end of each replica, as stacks of one."""
    rows = range(ends[0].num_replicas)
    return [[take_replicas(weights, [row]) for weights in ends] for row in rows]


def _hidden(one: Weights, x_NI: Tensor) -> list[Tensor]:
    """Activations of the hidden layers of a stack of one."""
    layers = list(one.items())
    parts = [Weights(dict(layers[:k])) for k in range(1, len(layers))]
    return [torch.relu(forward_stack(part, x_NI, "relu")[0]) for part in parts]


def _move(both: tuple[Weights, Weights], row: int, x_NI: Tensor, seed: int) -> Any:
    """Changes, flips and lengths [3, move, moment] of images that are moved.

    Each image is moved towards another one, by what of the difference lies in a null
    space of the first layer; and as far as in the first of these in a random direction.
    """
    swap_NI = x_NI.roll(1, dims=0) - x_NI
    moved = []
    for weights in both:
        row_space = torch.linalg.qr(weights["hidden1"].w[row].double()).Q
        inside = swap_NI.double() @ row_space @ row_space.T
        moved.append(swap_NI - inside.float())
    random = stream(seed, row, "move", "inputs").standard_normal(tuple(x_NI.shape))
    any_NI, first_NI = torch.from_numpy(random).float(), moved[0]
    lengths = [v.norm(dim=1, keepdim=True) for v in (any_NI, first_NI)]
    moved.append(any_NI / lengths[0] * lengths[1])
    rows = []
    for v_NI in moved:
        length = float(v_NI.norm() / swap_NI.norm())
        changes = [_change(weights, row, x_NI, v_NI, swap_NI) for weights in both]
        rows.append([[c[0] for c in changes], [c[1] for c in changes], [length] * 2])
    return np.moveaxis(np.array(rows), 1, 0)


def _change(
    weights: Weights, row: int, x_NI: Tensor, v_NI: Tensor, swap_NI: Tensor
) -> tuple[float, float]:
    one = take_replicas(weights, [row])
    z, z_moved, z_swapped = (
        forward_stack(one, x, "relu")[0] for x in (x_NI, x_NI + v_NI, x_NI + swap_NI)
    )
    flipped_N = z.argmax(-1) != z_moved.argmax(-1)
    change = float((z_moved - z).norm() / (z_swapped - z).norm())
    return change, float(flipped_N.float().mean())
