"""Train from all starts, alone and with what breaks the tie, and see where they end.

What no run of the engine can do to a tied network (sums in other orders, a learning
rate for each parameter) is done by functions of its parameters.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn.functional import cross_entropy, relu

from birthmark.data import load_dataset
from birthmark.network import forward_stack
from birthmark.seeds import stream
from birthmark.shapes import Array, Dataset, Layer, Weights
from birthmark.spec import RunSpec
from birthmark.store import Store, open_store
from birthmark.training import initial_configuration
from ..frame import gather
from ..frame.descent import Forward, Parameters, descend
from ..frame.probes import (
    as_inputs,
    flatten_replica,
    read_ends,
    stack_curves,
    take_replicas,
    train_all,
)
from .protocol import (
    APART,
    CONSTANT,
    DROPOUT,
    END_STARTS,
    SCATTERED,
    STARTS,
    THEORY,
    Protocol,
    describe,
    spec_of,
)

NUM_PAIRS = 5  # of end points: replicas 0 and 1, 2 and 3, ...
_ACTIVE = "share of (unit, test input) pairs of hidden2 above 0 at the end"
_WORDS = {
    "spread": ("spread of the units over the weights", "1"),
    "tie_loss": ("train loss as visited", "nat"),
    "noise": ("standard deviation over the constant", "1"),
    "train_loss": ("train loss at the end of the epoch", "nat"),
    "test_accuracy": ("test accuracy", "1"),
    "distinct_units": ("number of different units", "1"),
    "active_share": (_ACTIVE, "1"),
    "narrow_loss": ("final train loss of width-1 networks", "nat"),
    "end_distance": ("distance of two end points over the way to them", "1"),
    "end_disagreement": ("share of test examples predicted differently", "1"),
    "end_function_distance": ("rms difference of probabilities", "1"),
    "end_barrier": ("largest rise of the train loss between two end points", "nat"),
    "end_loss": ("train loss of the end points", "nat"),
}


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Train all arms; see the door of the folder for what they ask."""
    store = open_store(folder, create=True)
    dataset = load_dataset(spec_of(protocol, STARTS["zeros"]).data)
    tied = spec_of(protocol, STARTS["constant 0.01"])
    parts = [
        _measure_starts(protocol, store, dataset),
        compare_ties(tied, store, dataset, protocol.noises, protocol.dropout),
        _measure_narrow(protocol, store),
        _measure_ends(protocol, store, folder, dataset),
    ]
    results = xr.merge(parts)
    results.attrs = {
        "protocol": describe(protocol, dataset, NUM_PAIRS),
        "steps_per_epoch": -(-len(dataset.y_train) // protocol.batch_size),
        "num_classes": dataset.num_classes,
        "num_inputs": dataset.num_inputs,
        "width": protocol.width,
        "constant": CONSTANT,
        "dropout": protocol.dropout,
        "apart": APART,
    }
    return results


def _measure_starts(protocol: Protocol, store: Store, dataset: Dataset) -> xr.Dataset:
    specs = [
        spec_of(protocol, start, {"record.weights": [protocol.epochs]})
        for start in STARTS.values()
    ]
    records = train_all(specs, store)
    active = [_active_share(read_ends(store, spec)[1], dataset) for spec in specs]
    curve, layers = ("start", "epoch", "replica"), ["hidden1", "hidden2"]
    distinct = stack_curves(records, "distinct_units")[..., :2]
    values = {
        "train_loss": (curve, stack_curves(records, "train_loss_evaluated")),
        "test_accuracy": (curve, stack_curves(records, "test_accuracy")),
        "distinct_units": ((*curve, "layer"), distinct),
        "active_share": (("start", "replica"), np.stack(active)),
    }
    epochs = range(protocol.epochs + 1)
    coords = {"start": list(STARTS), "epoch": epochs, "layer": layers}
    return gather(_WORDS, values, coords)


def _measure_narrow(protocol: Protocol, store: Store) -> xr.Dataset:
    """What real networks of width 1 reach, from random starts at several rates."""
    narrow = {"network.widths": [1, 1], "run.replicas": protocol.narrow_replicas}
    start = STARTS["glorot_uniform"]
    specs = [
        spec_of(protocol, start, {**narrow, "training.lr": lr, "record.epochs": []})
        for lr in protocol.narrow_lrs
    ]
    final = [one["train_loss_evaluated"][-1] for one in train_all(specs, store)]
    values = {"narrow_loss": (("lr", "narrow_replica"), np.stack(final))}
    return gather(_WORDS, values, {"lr": protocol.narrow_lrs})


def _measure_ends(
    protocol: Protocol, store: Store, folder: Path, dataset: Dataset
) -> xr.Dataset:
    """Where replicas end that differ in the order of their batches."""
    settings = {
        "training.epochs": protocol.end_epochs,
        "training.schedule.name": "cosine",
        "run.replicas": 2 * NUM_PAIRS,
        "record.weights": [protocol.end_epochs],
        "record.epochs": [],
    }
    random = spec_of(protocol, STARTS["glorot_uniform"], settings)
    # one random draw, at which all replicas of another run begin
    file, first = str(folder / "start.npz"), initial_configuration(random)
    arrays: dict[str, Any] = {f"{n}.w": x.w[0].numpy() for n, x in first.items()}
    np.savez(file, **arrays)
    specs = [
        spec_of(protocol, STARTS["constant 0.01"], settings),
        spec_of(protocol, {"name": "checkpoint", "file": file}, settings),
        random,
    ]
    train_all(specs, store)
    return compare_ends(END_STARTS, specs, store, dataset)


def _active_share(weights: Weights, dataset: Dataset) -> Array:
    """Share of (unit, test input) pairs of the last hidden layer above 0, [R]."""
    hidden = dict(list(weights.items())[:-1])
    z_RNO = forward_stack(Weights(hidden), as_inputs(dataset, "test")[0], "relu")
    return np.asarray((z_RNO > 0).float().mean(dim=(1, 2)))


def compare_ends(
    names: Sequence[str], specs: Sequence[RunSpec], store: Store, dataset: Dataset
) -> xr.Dataset:
    """Distances between the end points of disjoint pairs of replicas.

    Weights: the L2 distance of two end points over the mean length of the straight way
    to them. Function: predictions on the test set. The barrier is what the loss
    rises, on the straight line between the end points, above the line between their
    losses: 0 within one basin (Frankle et al., arXiv 1912.05671).
    """
    train, (test_NI, _) = as_inputs(dataset, "train"), as_inputs(dataset, "test")
    rows = [
        [_compare(*ends, 2 * k, train, test_NI) for k in range(NUM_PAIRS)]
        for ends in (read_ends(store, spec) for spec in specs)
    ]
    found = {
        name: (("end_start", "pair"), np.array(rows, dtype=np.float32)[..., place])
        for place, name in enumerate(name for name in _WORDS if name.startswith("end_"))
    }
    return gather(_WORDS, found, {"end_start": list(names)})


def _compare(
    start: Weights,
    end: Weights,
    first: int,
    train: tuple[Tensor, Tensor],
    test_NI: Tensor,
) -> tuple[float, ...]:
    rows = [first, first + 1]
    a, b = (flatten_replica(end, row) for row in rows)
    moves = [flatten_replica(end, r) - flatten_replica(start, r) for r in rows]
    ways = [float(move.norm()) for move in moves]
    z_2NK = forward_stack(take_replicas(end, rows), test_NI, "relu")
    p_2NK = torch.softmax(z_2NK, dim=-1)
    differ_N = p_2NK[0].argmax(-1) != p_2NK[1].argmax(-1)
    shares = np.linspace(0, 1, 11)
    losses = np.array([_loss_between(end, rows, share, *train) for share in shares])
    chord = np.linspace(losses[0], losses[-1], len(losses))
    return (
        float((a - b).norm()) / float(np.mean(ways)),
        float(differ_N.float().mean()),
        float((p_2NK[0] - p_2NK[1]).square().mean().sqrt()),
        float((losses - chord).max()),
        float(losses[[0, -1]].mean()),
    )


def _loss_between(
    weights: Weights, rows: list[int], share: float, x_NI: Tensor, y_N: Tensor
) -> float:
    """The loss on the straight line from the first row to the second."""

    def between(stack: Tensor) -> Tensor:
        first, second = stack[rows]
        return torch.lerp(first, second, share)[None]

    layers = {n: Layer(between(x.w), between(x.b)) for n, x in weights.items()}
    return float(cross_entropy(forward_stack(Weights(layers), x_NI, "relu")[0], y_N))


_OTHERS = (DROPOUT, SCATTERED, THEORY)  # in the order in which they are trained
LAYERS = ("hidden1", "hidden2", "output")
NUM_BLOCKS = 4  # partial sums of a scattered sum


def compare_ties(
    tied: RunSpec,
    store: Store,
    dataset: Dataset,
    noises: Sequence[float],
    dropout: float,
) -> xr.Dataset:
    """Train the constant start under what might set its units apart.

    `spread` and `tie_loss` (tie, epoch, replica): of no noise, of normal noise of each
    standard deviation over the constant, of dropout and scattered sums, and of the
    width-1 network that theory says it is.
    """
    normal = {"name": "normal", "mean": CONSTANT}
    laws = [{**normal, "std": CONSTANT * noise} for noise in noises]
    every = list(range(tied.training.epochs + 1))
    record = {"record.weights": every, "record.weights_layers": ["hidden2"]}
    tied = tied.with_settings(record)
    specs = [tied, *(tied.with_settings({"initialization": law}) for law in laws)]
    specs.append(tied.with_settings({"network.dropout": dropout}))
    loss = list(stack_curves(train_all(specs, store), "train_loss"))
    spreads = []
    for spec in specs:
        kept = [store.weights(spec.run_key, epoch) for epoch in spec.weights_epochs]
        spreads.append(np.array([[spread(w) for w in x["hidden2"].w] for x in kept]))
    for name in (SCATTERED, THEORY):
        loop_spread, loop_loss = _loop(name, tied, dataset)
        spreads.append(loop_spread)
        loss.append(loop_loss)
    dims = ("tie", "epoch", "replica")
    values = {
        "spread": (dims, np.stack(spreads)),
        "tie_loss": (dims, np.stack(loss)),
        "noise": ("tie", [0, *noises, *[np.nan] * 3]),
    }
    ties = ["none", *(f"noise {x:g}" for x in noises), *_OTHERS]
    return gather(_WORDS, values, {"tie": ties})


def _loop(name: str, spec: RunSpec, dataset: Dataset) -> tuple[Array, Array]:
    """Spread and loss [epoch, replica] of an arm in plain torch."""
    width = spec.network.widths[0]
    start, factors = constant_parameters(CONSTANT, width, dataset), None
    if name == THEORY:
        start = width_one_parameters(CONSTANT, width, dataset)
        factors = width_one_factors(width)
    found = np.zeros((2, spec.training.epochs + 1, spec.run.replicas))
    for r in range(spec.run.replicas):
        forward: Forward = plain_forward
        if name == SCATTERED:
            forward = scattered_forward(dataset.num_inputs, spec.run.seed, r)
        epochs = descend(start, dataset, spec, r, forward, factors)
        for e, one in enumerate(epochs):
            spread_e = spread(one.parameters["hidden2.w"].numpy())
            found[:, e, r] = spread_e, one.train_loss
    return found[0], found[1]


def constant_parameters(value: float, width: int, dataset: Dataset) -> Parameters:
    """All weights of one value, biases zero."""
    sizes = (dataset.num_inputs, width, width, dataset.num_classes)
    shapes = dict(zip(LAYERS, zip(sizes, sizes[1:], strict=False), strict=True))
    weights = {f"{n}.w": torch.full(shape, value) for n, shape in shapes.items()}
    return weights | {f"{n}.b": torch.zeros(shape[1]) for n, shape in shapes.items()}


def plain_forward(p: Parameters, x_BI: Tensor) -> Tensor:
    """Two hidden layers of ReLU."""
    return _head(p, relu(x_BI @ p["hidden1.w"] + p["hidden1.b"]))


def scattered_forward(num_inputs: int, seed: int, replica: int) -> Forward:
    """As `plain_forward`, but each unit adds its partial sums in an order of its own.

    The inputs lie in four blocks; every unit of the first layer adds the sums of its
    blocks in a random order, another one at each step, as parallel hardware does that
    adds what is ready first. In exact arithmetic nothing changes.
    """
    random = stream(seed, replica, "order of sums", "hidden1")
    blocks = torch.arange(num_inputs).tensor_split(NUM_BLOCKS)

    def forward(p: Parameters, x_BI: Tensor) -> Tensor:
        w_IO = p["hidden1.w"]
        sums_SBO = torch.stack([x_BI[:, block] @ w_IO[block] for block in blocks])
        order_SO = random.random((NUM_BLOCKS, w_IO.shape[1])).argsort(axis=0)
        index_SBO = torch.from_numpy(order_SO)[:, None, :].expand(sums_SBO.shape)
        z_BO = p["hidden1.b"]
        for part_BO in sums_SBO.gather(0, index_SBO):
            z_BO = z_BO + part_BO
        return _head(p, relu(z_BO))

    return forward


def width_one_factors(width: int) -> dict[str, float]:
    """Factors on the learning rates of a width-1 network that is the tied network.

    With u, v, w the weights that all units of a tied network of n units a layer share,
    the network computes what one of width 1 with weights u, n v, n w does. A step on
    all n copies moves these by lr / n, lr and n lr times its gradient; hidden biases
    move by lr / n, output biases by lr.
    """
    return {
        "hidden1.w": 1 / width,
        "hidden1.b": 1 / width,
        "hidden2.b": 1 / width,
        "output.w": float(width),
    }


def width_one_parameters(value: float, width: int, dataset: Dataset) -> Parameters:
    """The width-1 network that computes what the tied one does at its start."""
    start = constant_parameters(value, 1, dataset)
    return start | {n: width * start[n] for n in ("hidden2.w", "output.w")}


def spread(w_IO: Array) -> float:
    """How far the units of a layer lie apart, 0 where all are equal.

    The root mean square of what weights differ by from the mean over both the units
    that they enter and those that they leave (the larger of the two), over that of the
    weights. Between two hidden layers it sees the units of both.
    """
    w_IO = w_IO.astype(float)
    rms = float((w_IO**2).mean() ** 0.5)
    parts = [w_IO - w_IO.mean(axis=axis, keepdims=True) for axis in (0, 1)]
    return max(float((part**2).mean() ** 0.5) for part in parts) / rms if rms else 0.0


def _head(p: Parameters, a_BO: Tensor) -> Tensor:
    a_BO = relu(a_BO @ p["hidden2.w"] + p["hidden2.b"])
    return a_BO @ p["output.w"] + p["output.b"]
