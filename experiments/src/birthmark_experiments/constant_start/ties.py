"""What sets tied units apart, and when: noise, dropout, the order of sums.

What no run of the engine can do to a tied network (sums in other orders, a learning
rate for each parameter) is done by functions of its parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn.functional import relu

from birthmark.seeds import stream
from birthmark.shapes import Array, Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store
from birthmark.sweeps import Grid, run_grid
from birthmark_experiments.constant_start.protocol import (
    CONSTANT,
    DROPOUT,
    SCATTERED,
    THEORY,
)
from birthmark_experiments.frame import variable
from birthmark_experiments.frame.descent import Forward, Parameters, descend
from birthmark_experiments.frame.probes import stack_curves

_OTHERS = (DROPOUT, SCATTERED, THEORY)  # in the order in which they are trained
LAYERS = ("hidden1", "hidden2", "output")
NUM_BLOCKS = 4  # partial sums of a scattered sum


def compare_ties(
    tied: RunSpec,
    store: Store,
    dataset: Dataset,
    *,
    noises: Sequence[float],
    dropout: float,
) -> xr.Dataset:
    """Train the constant start under what might set its units apart.

    Args:
        tied: The constant start, of two hidden layers of one width.
        store: Where runs go.
        dataset: Of the spec.
        noises: Standard deviations of normal noise, over the constant.
        dropout: Share of the hidden units that are left out.

    Returns:
        `spread` and `tie_loss` (tie, epoch, replica): of no noise, of each noise, of
        dropout and scattered sums, and of the width-1 network that theory says it is.
    """
    laws = [
        {"name": "normal", "mean": CONSTANT, "std": CONSTANT * noise}
        for noise in noises
    ]
    tied = tied.with_settings(
        {
            "record.weights": list(range(tied.training.epochs + 1)),
            "record.weights_layers": ["hidden2"],
        }
    )
    specs = [tied, *(tied.with_settings({"initialization": law}) for law in laws)]
    specs.append(tied.with_settings({"network.dropout": dropout}))
    done = run_grid(Grid(tuple(specs)), store)
    loss = list(stack_curves([one.records for one in done], "train_loss"))
    spreads = [_spreads(store, spec) for spec in specs]
    for name in (SCATTERED, THEORY):
        loop_spread, loop_loss = _loop(name, tied, dataset)
        spreads.append(loop_spread)
        loss.append(loop_loss)
    dims = ("tie", "epoch", "replica")
    return xr.Dataset(
        {
            "spread": variable(
                dims, np.stack(spreads), "spread of the units over the weights"
            ),
            "tie_loss": variable(dims, np.stack(loss), "train loss as visited", "nat"),
            "noise": variable(
                "tie",
                [0, *noises, *[np.nan] * 3],
                "standard deviation over the constant",
            ),
        },
        {"tie": ["none", *(f"noise {x:g}" for x in noises), *_OTHERS]},
    )


def _spreads(store: Store, spec: RunSpec) -> Array:
    """[epoch, replica]."""
    return np.array(
        [
            [spread(w) for w in store.weights(spec.run_key, epoch)["hidden2"].w]
            for epoch in spec.weights_epochs
        ]
    )


def _loop(name: str, spec: RunSpec, dataset: Dataset) -> tuple[Array, Array]:
    """Spread and loss [epoch, replica] of an arm in plain torch."""
    width = spec.network.widths[0]
    start, factors = constant_parameters(CONSTANT, width, dataset), None
    if name == THEORY:
        start = width_one_parameters(CONSTANT, width, dataset)
        factors = width_one_factors(width)
    columns = []
    for r in range(spec.run.replicas):
        forward: Forward = plain_forward
        if name == SCATTERED:
            forward = scattered_forward(dataset.num_inputs, spec.run.seed, r)
        epochs = descend(
            start, dataset, spec, replica=r, forward=forward, factors=factors
        )
        columns.append(
            [
                (spread(one.parameters["hidden2.w"].numpy()), one.train_loss)
                for one in epochs
            ]
        )
    spread_ER, loss_ER = np.moveaxis(np.array(columns), (2, 1), (0, 1))
    return spread_ER, loss_ER


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
