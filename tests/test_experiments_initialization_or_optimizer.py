"""Starts and optimizers: steps against plain torch, shares against their definition."""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from torch.nn.functional import cross_entropy

from birthmark.data import load_dataset
from birthmark.experiments import shipped_results
from birthmark.experiments.initialization_or_optimizer import (
    EXPERIMENT,
    PROTOCOLS,
    count_steps,
    spec_of,
)
from birthmark.figures import draw_experiment
from birthmark.network import draw_weights
from birthmark.seeds import batch_order

QUICK = PROTOCOLS["quick"]
DIMS = ("initialization", "optimizer", "replica")


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> xr.Dataset:
    return EXPERIMENT.measure("quick", tmp_path_factory.mktemp("optimizers"))


@pytest.fixture(scope="module")
def shipped() -> xr.Dataset:
    return shipped_results("initialization-or-optimizer")


def plain_losses(start, optimizer, lr, replica):
    """The loss over the training set after each epoch, trained in torch alone."""
    spec = spec_of(QUICK, start, optimizer, lr)
    data = load_dataset(spec.data)
    drawn = draw_weights(spec, data.num_inputs, 10, replicas=[replica])
    parameters = [
        tensor[0].clone().requires_grad_()
        for _, layer in drawn.items()
        for tensor in (layer.w, layer.b)
    ]
    chosen = {
        "SGD": lambda: torch.optim.SGD(parameters, lr),
        "momentum": lambda: torch.optim.SGD(parameters, lr, momentum=0.9),
        "Adam": lambda: torch.optim.Adam(parameters, lr),
    }[optimizer]()
    pixels = (data.x_train / data.full_scale - data.mean) / data.std
    x, y = torch.tensor(pixels, dtype=torch.float32), torch.tensor(data.y_train)

    def loss_of(at):
        a = x[at]
        for w, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            a = torch.relu(a @ w + b)
        return cross_entropy(a @ parameters[-2] + parameters[-1], y[at])

    losses = []
    for epoch in range(QUICK.epochs):
        order = batch_order(0, replica, epoch, len(x))
        for first in range(0, len(x), QUICK.batch_size):
            chosen.zero_grad()
            loss_of(order[first : first + QUICK.batch_size]).backward()
            chosen.step()
        losses.append(loss_of(slice(None)).item())
    return losses


@pytest.mark.parametrize("optimizer", ["SGD", "momentum", "Adam"])
def test_losses_are_those_of_plain_torch(results, optimizer):
    cell = results.sel(initialization="he_normal", optimizer=optimizer)
    expected = plain_losses("he_normal", optimizer, float(cell["lr"]), 1)
    found = cell["train_loss"].isel(replica=1).to_numpy()[1:]
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_the_search_takes_the_rate_with_the_fewest_steps_on_another_seed(results):
    steps = results["search"].sel(optimizer="SGD").to_numpy()
    rates = results["search"]["searched_lr"].sel(optimizer="SGD").to_numpy()
    assert float(results["lr"].sel(optimizer="SGD")) == rates[np.argmin(steps)]
    main, search = (
        spec_of(QUICK, "he_normal", "SGD", 0.1, search=one) for one in (False, True)
    )
    assert main.run.seed != search.run.seed
    assert search.run.replicas == 1


def test_steps_lie_between_the_epochs_around_the_level():
    loss = np.array([[2.0, 2.0], [1.0, 0.9], [0.5, 0.8]])
    records = xr.Dataset(
        {"train_loss_evaluated": (("step", "replica"), loss)}, {"step": [0, 10, 20]}
    )
    [steps] = count_steps(records, (0.7,))
    assert steps[0] == pytest.approx(10 + 10 * math.log(1 / 0.7) / math.log(2))
    assert np.isnan(steps[1])


def test_facts_split_the_logarithms_of_the_steps(results):
    facts = EXPERIMENT.summarize(results)
    logs = np.log(results["steps"].isel(level=-1).transpose(*DIMS).to_numpy())
    cells = logs.mean(axis=2)
    rows = cells.mean(axis=1) - cells.mean()
    first = 3 * logs.shape[2] * (rows**2).sum() / ((logs - logs.mean()) ** 2).sum()
    shares = facts["shares"]["steps"]
    assert shares["first"]["eta2"] == pytest.approx(first)
    assert sum(one["eta2"] for one in shares.values()) == pytest.approx(1)
    censored = results["is_censored"].isel(level=-1)
    assert facts["num_censored"] == int(censored.sum())
    cell = facts["cells"]["he_normal"]["Adam"]
    row = results.sel(initialization="he_normal", optimizer="Adam").isel(level=-1)
    assert cell["mean"] == pytest.approx(float(np.exp(np.log(row["steps"]).mean())))
    assert len(draw_experiment("initialization-or-optimizer", results).draw().axes) == 3


# of the shipped records


def test_the_protocol_is_complete_and_steps_do_not_pass_the_budget(shipped):
    sizes = {name: shipped.sizes[name] for name in DIMS}
    assert sizes == {"initialization": 8, "optimizer": 3, "replica": 5}
    assert (shipped["steps"] <= shipped.attrs["budget"]).all()
    early, late = (shipped["steps"].isel(level=i) for i in (0, 1))
    assert (early <= late).all()


def test_all_cells_of_a_start_begin_at_the_same_loss(shipped):
    """Optimizers differ from the first step on, and not before it."""
    first = shipped["train_loss"].isel(step=0).transpose(*DIMS).to_numpy()
    np.testing.assert_allclose(first, np.repeat(first[:, :1], 3, axis=1), rtol=1e-4)


def test_shares_of_the_shipped_steps_are_those_of_least_squares(shipped):
    logs = np.log(shipped["steps"].isel(level=-1).transpose(*DIMS).to_numpy())
    a, b, _ = (index.ravel() for index in np.indices(logs.shape))
    design = np.column_stack([np.ones(logs.size), *(a == i for i in range(1, 8))])
    left = logs.ravel() - design @ np.linalg.lstsq(design, logs.ravel(), rcond=None)[0]
    total = ((logs - logs.mean()) ** 2).sum()
    facts = EXPERIMENT.summarize(shipped)
    assert facts["shares"]["steps"]["first"]["eta2"] == pytest.approx(
        1 - (left**2).sum() / total
    )
    assert len(np.unique(b)) == 3
