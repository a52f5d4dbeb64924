"""What sets tied units apart, and when: noise, dropout, the order of sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from birthmark.shapes import Array, Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store
from birthmark.sweeps import Grid, run_grid
from birthmark_experiments.constant_start.loops import (
    constant_parameters,
    dropout_forward,
    plain_forward,
    scattered_forward,
    spread,
    width_one_factors,
    width_one_parameters,
)
from birthmark_experiments.constant_start.protocol import (
    CONSTANT,
    DROPOUT,
    SCATTERED,
    THEORY,
)
from birthmark_experiments.frame import labelled
from birthmark_experiments.frame.descent import Forward, descend
from birthmark_experiments.frame.probes import stack_curves


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
    done = run_grid(Grid(tuple(specs)), store)
    loss = list(stack_curves([one.records for one in done], "train_loss"))
    spreads = [_spreads(store, spec) for spec in specs]
    names = ["none", *(f"noise {noise:g}" for noise in noises)]
    for name in (DROPOUT, SCATTERED, THEORY):
        loop_spread, loop_loss = _loop(name, tied, dataset, dropout)
        names.append(name)
        spreads.append(loop_spread)
        loss.append(loop_loss)
    noises = [0.0, *noises, *[np.nan] * 3]
    dims = ("tie", "epoch", "replica")
    return xr.Dataset(
        {
            "spread": (
                dims,
                np.stack(spreads).astype(np.float32),
                labelled("spread of the units over the weights", "1"),
            ),
            "tie_loss": (
                dims,
                np.stack(loss).astype(np.float32),
                labelled("train loss as visited", "nat"),
            ),
            "noise": (
                "tie",
                np.array(noises),
                labelled("standard deviation over the constant", "1"),
            ),
        },
        {"tie": names},
    )


def _spreads(store: Store, spec: RunSpec) -> Array:
    """[epoch, replica]."""
    return np.array(
        [
            [spread(w) for w in store.weights(spec.run_key, epoch)["hidden2"].w]
            for epoch in spec.weights_epochs
        ]
    )


def _loop(
    name: str, spec: RunSpec, dataset: Dataset, dropout: float
) -> tuple[Array, Array]:
    """Spread and loss [epoch, replica] of an arm in plain torch."""
    width = spec.network.widths[0]
    start, factors = constant_parameters(CONSTANT, width, dataset), None
    if name == THEORY:
        start = width_one_parameters(CONSTANT, width, dataset)
        factors = width_one_factors(width)
    columns = []
    for replica in range(spec.run.replicas):
        with torch.random.fork_rng(devices=[]):  # dropout draws from torch's generator
            forward: Forward = plain_forward
            if name == DROPOUT:
                forward = dropout_forward(dropout, spec.run.seed, replica)
            elif name == SCATTERED:
                forward = scattered_forward(dataset.num_inputs, spec.run.seed, replica)
            epochs = descend(
                start, dataset, spec, replica=replica, forward=forward, factors=factors
            )
            columns.append(
                [
                    (spread(one.parameters["hidden2.w"].numpy()), one.train_loss)
                    for one in epochs
                ]
            )
    spread_ER, loss_ER = np.moveaxis(np.array(columns), (2, 1), (0, 1))
    return spread_ER, loss_ER
