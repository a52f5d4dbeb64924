"""What training keeps of a start: null spaces, distances between inputs.

The null space of the first layer is that of W in x W: an input that moves inside it
moves no unit. Its complement is the span of the units' incoming weights. Plain SGD
moves these within the span of the training inputs alone: every gradient is a sum of
inputs, so what lies outside of that span stays as it was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from birthmark.network import forward_stack
from birthmark.seeds import stream
from birthmark.shapes import Dataset, Weights
from birthmark.spec import RunSpec
from birthmark.store import Store
from birthmark_experiments.deterministic_start.protocol import MOMENTS, MOVES
from birthmark_experiments.frame import variable
from birthmark_experiments.frame.probes import as_inputs, as_tensors, take_replicas

_RANK_TOLERANCE = 1e-9  # of the largest eigenvalue of X'X: below it, no direction

_UNITS = {
    "row_overlap": ("mean squared cosine of the principal angles", "1"),
    "largest_angle": ("largest principal angle of the null spaces", "degree"),
    "row_share": ("share of the squared move in the initial row space", "1"),
    "outside_share": ("share of the move outside the span of the inputs", "1"),
    "outside_start": ("share of the start outside the span of the inputs", "1"),
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
    """What `_UNITS` names, of one layer's weights before and after, float64."""
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
    spaces, distances, moves = [], [], []
    for spec in specs.values():
        both = _read(spec, store)
        rows = range(spec.run.replicas)
        spaces.append([_compare_first(both, row, span_ID) for row in rows])
        distances.append(
            [
                [
                    [read_distances(h, y_N, x_NI) for h in _hidden(w, row, x_NI)]
                    for w in both
                ]
                for row in rows
            ]
        )
        moves.append([_move(both, row, x_NI, spec.run.seed) for row in rows])
    results = _name_spaces(spaces)
    results.attrs["span"] = span_ID.shape[1]
    dims = ("initialization", "replica", "moment", "layer")
    distortion, class_ratio = np.moveaxis(np.array(distances, dtype=np.float32), -1, 0)
    results["distortion"] = variable(
        dims, distortion, "std over mean of the ratio of distances"
    )
    results["class_ratio"] = variable(
        dims, class_ratio, "distance between classes over that within"
    )
    results["class_ratio_of_inputs"] = variable(
        (),
        read_distances(x_NI, y_N, x_NI)[1],
        "distance between classes over that within",
    )
    change, flipped, length = np.moveaxis(np.array(moves, dtype=np.float32), 2, 0)
    dims = ("initialization", "replica", "move", "moment")
    for name, values, words in (
        ("output_change", change, "change of the outputs over that by a whole swap"),
        ("changed_share", flipped, "share of predictions that change"),
        ("move_length", length, "length of the move over that of a whole swap"),
    ):
        results[name] = variable(dims, values, words)
    return results.assign_coords(
        moment=list(MOMENTS), move=list(MOVES), layer=["hidden1", "hidden2"]
    )


def measure_few(
    specs: Mapping[str, RunSpec], store: Store, dataset: Dataset
) -> xr.Dataset:
    """The null spaces of runs on few examples; names begin with `few_`."""
    span_ID = span_of_inputs(dataset)
    spaces = [
        [
            _compare_first(_read(spec, store), row, span_ID)
            for row in range(spec.run.replicas)
        ]
        for spec in specs.values()
    ]
    results = _name_spaces(spaces).assign_coords(initialization=list(specs))
    results = results.rename(
        {name: f"few_{name}" for name in (*results, "initialization", "replica")}
    )
    results.attrs["few_span"] = span_ID.shape[1]
    return results


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
    within = after_P[same_P].mean()
    class_ratio = (
        float(after_P[~same_P].mean() / within) if within > 0 else float("nan")
    )
    mean = float(ratio_P.mean())
    return (float(ratio_P.std()) / mean if mean else float("nan")), class_ratio


def _read(spec: RunSpec, store: Store) -> tuple[Weights, Weights]:
    start, end = (
        as_tensors(store.weights(spec.run_key, epoch))
        for epoch in (0, spec.training.epochs)
    )
    return start, end


def _compare_first(
    both: tuple[Weights, Weights], row: int, span_ID: Tensor
) -> dict[str, float]:
    start_IO, end_IO = (weights["hidden1"].w[row].double() for weights in both)
    return compare_spaces(start_IO, end_IO, span_ID)


def _name_spaces(spaces: list[list[dict[str, float]]]) -> xr.Dataset:
    return xr.Dataset(
        {
            name: variable(
                ("initialization", "replica"),
                np.array([[one[name] for one in row] for row in spaces]),
                words,
                unit,
            )
            for name, (words, unit) in _UNITS.items()
        }
    )


def _hidden(weights: Weights, row: int, x_NI: Tensor) -> list[Tensor]:
    """Activations of the hidden layers of one replica."""
    one = take_replicas(weights, [row])
    names = list(one)
    return [
        torch.relu(
            forward_stack(Weights({n: one[n] for n in names[: k + 1]}), x_NI, "relu")[0]
        )
        for k in range(len(names) - 1)
    ]


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
    any_NI = torch.from_numpy(random).float()
    moved.append(
        any_NI / any_NI.norm(dim=1, keepdim=True) * moved[0].norm(dim=1, keepdim=True)
    )
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
