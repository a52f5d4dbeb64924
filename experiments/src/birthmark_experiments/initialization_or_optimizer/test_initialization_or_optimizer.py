"""Starts and optimizers: steps against plain torch, shares against their definition."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.testing import assert_allclose
from scipy import stats
from torch.nn.functional import cross_entropy

from birthmark.data import load_dataset
from birthmark.network import draw_weights
from birthmark.seeds import batch_order
from birthmark.store import open_store
from birthmark_experiments.initialization_or_optimizer import EXPERIMENT
from birthmark_experiments.initialization_or_optimizer.measure import (
    count_steps,
    search_lrs,
)
from birthmark_experiments.initialization_or_optimizer.protocol import (
    LEVELS,
    OPTIMIZERS,
    PROTOCOLS,
    spec_of,
)

QUICK = PROTOCOLS["quick"]
DIMS = ("initialization", "optimizer", "replica")


def train_plainly(start, optimizer, lr, replica):
    """Losses over the training set, test accuracy at the end, in torch alone."""
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
    mean, std = data.x_train.mean(), data.x_train.std()
    x, x_test = (
        torch.tensor((half - mean) / std, dtype=torch.float32)
        for half in (data.x_train, data.x_test)
    )
    y = torch.tensor(data.y_train)

    def logits(a):
        for w, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            a = torch.relu(a @ w + b)
        return a @ parameters[-2] + parameters[-1]

    def loss_of(at):
        return cross_entropy(logits(x[at]), y[at])

    losses = []
    for epoch in range(QUICK.epochs):
        order = batch_order(0, replica, epoch, len(x))
        for first in range(0, len(x), QUICK.batch_size):
            chosen.zero_grad()
            loss_of(order[first : first + QUICK.batch_size]).backward()
            chosen.step()
        losses.append(loss_of(slice(None)).item())
    guesses = logits(x_test).argmax(dim=1).numpy()
    return losses, float((guesses == data.y_test).mean())


@pytest.mark.parametrize("optimizer", ["SGD", "momentum", "Adam"])
def test_losses_are_those_of_plain_torch(results, optimizer):
    cell = results.sel(initialization="he_normal", optimizer=optimizer)
    losses, accuracy = train_plainly("he_normal", optimizer, float(cell["lr"]), 1)
    found = cell["train_loss"].isel(replica=1).to_numpy()[1:]
    assert_allclose(found, losses, rtol=2e-3)
    assert float(cell["test_accuracy"][1]) == pytest.approx(accuracy, abs=0.01)


def test_steps_are_read_off_the_losses_and_capped_by_the_budget(results):
    """Between two epochs the logarithm of the loss is taken as a straight line."""
    assert results["level"].to_numpy() == pytest.approx(np.log(10) * np.array(LEVELS))
    steps = results["step"].to_numpy()
    num_censored = 0
    for cell in results.stack(cell=DIMS).transpose("cell", ...).cell:
        one = results.stack(cell=DIMS).sel(cell=cell)
        curve = one["train_loss"].to_numpy()
        for level in range(2):
            target = float(one["level"][level])
            below = np.flatnonzero(curve <= target)
            expected = float(one.attrs["budget"])
            if len(below):
                i = below[0]
                part = np.log(curve[i - 1] / target) / np.log(curve[i - 1] / curve[i])
                expected = steps[i - 1] + part * (steps[i] - steps[i - 1])
            num_censored += not len(below)
            assert float(one["steps"][level]) == pytest.approx(expected, rel=1e-5)
            assert bool(one["is_censored"][level]) == (not len(below))
    assert num_censored


def test_the_search_is_the_geometric_mean_over_every_second_start(tmp_path):
    starts = ("glorot_uniform", "he_normal", "torch_default")
    lrs = {name: (0.03,) for name in OPTIMIZERS}
    protocol = replace(QUICK, starts=starts, lrs=lrs, epochs=3)
    store = open_store(tmp_path / "store", create=True)
    found = search_lrs(protocol, store)
    assert len(store.runs()) == 2 * len(OPTIMIZERS)
    level = LEVELS[1] * np.log(10)
    for optimizer in OPTIMIZERS:
        logs = []
        for start in ("glorot_uniform", "torch_default"):
            key = spec_of(protocol, start, optimizer, 0.03, search=True).run_key
            records = store.records(key, distributions=False)
            [steps] = count_steps(records, (level,))
            capped = np.nan_to_num(steps, nan=float(records["step"][-1]))
            logs.append(float(np.log(capped).item()))
        mean = float(found.sel(optimizer=optimizer)[0])
        assert mean == pytest.approx(np.exp(np.mean(logs)))


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


def test_facts_split_the_logarithms_of_the_steps(results, facts):
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
    assert len(EXPERIMENT.draw(results).draw().axes) == 3


# of a table whose numbers are known


@pytest.fixture(scope="module")
def known() -> xr.Dataset:
    """5 starts, 3 optimizers, 4 replicas, 2 losses; the last start is never done."""
    rng = np.random.default_rng(8)
    rows = np.log([1.0, 1.3, 1.1, 2.0, 5.0])[:, None, None]
    columns = np.log([1.0, 2.0, 0.5])[None, :, None]
    noise = 0.05 * rng.normal(size=(5, 3, 4))
    steps = 100 * np.exp(rows + columns + noise)
    steps[1, 1] *= 0.7  # there the second start is the quickest
    steps[4] = 800.0
    censored = np.zeros((5, 3, 2, 4), dtype="i1")
    censored[4, :, 1] = 1
    shape = ("initialization", "optimizer", "level", "replica")
    search = xr.DataArray(
        [[4.0, 5.0, 6.0], [3.0, np.nan, 7.0]],
        {
            "optimizer": ["SGD", "momentum", "Adam"],
            "searched_lr": (
                ("candidate", "optimizer"),
                [[0.1, 0.2, 0.3], [0.4, np.nan, 0.6]],
            ),
        },
        ("candidate", "optimizer"),
    )
    return xr.Dataset(
        {
            "steps": (shape, np.stack([steps / 3 + 7, steps], axis=2)),
            "is_censored": (shape, censored),
            "test_accuracy": (DIMS, 0.9 + 0.01 * rng.normal(size=(5, 3, 4))),
            "search": search,
            "lr": ("optimizer", [0.4, 0.2, 0.3]),
        },
        {
            "initialization": list("abcde"),
            "optimizer": ["SGD", "momentum", "Adam"],
            "level": [0.5, 0.2],
        },
        {"protocol": "by hand", "budget": 800},
    )


@pytest.fixture(scope="module")
def known_facts(known):
    return EXPERIMENT.summarize(known)


def share_of_rows(values: np.ndarray) -> float:
    """Sum of squares between rows over that of all."""
    rows = values.mean(axis=(1, 2)) - values.mean()
    size = values.shape[1] * values.shape[2]
    return size * (rows**2).sum() / ((values - values.mean()) ** 2).sum()


def test_each_outcome_has_shares_of_its_own(known, known_facts):
    facts = known_facts
    late, early = (np.log(known["steps"].isel(level=i).to_numpy()) for i in (1, 0))
    doubled = late.copy()
    doubled[4] += np.log(2)
    expected = {
        "steps": late,
        "steps_early": early,
        "test_accuracy": known["test_accuracy"].to_numpy(),
    }
    for name, values in expected.items():
        found = facts["shares"][name]["first"]["eta2"]
        assert found == pytest.approx(share_of_rows(values)), name
    assert facts["doubled"]["first"]["eta2"] == pytest.approx(share_of_rows(doubled))
    assert (facts["num_censored"], facts["num_runs"]) == (12, 60)


def test_one_start_is_left_out_at_a_time(known, known_facts):
    """omega^2 of the definition (Hays 1963), from the sums of squares."""
    logs = np.log(known["steps"].isel(level=1).to_numpy())

    def omega2(values):
        a, b, r = values.shape
        grand, cells = values.mean(), values.mean(axis=2)
        rows = b * r * ((values.mean(axis=(1, 2)) - grand) ** 2).sum()
        error = ((values - cells[:, :, None]) ** 2).sum() / (a * b * (r - 1))
        total = ((values - grand) ** 2).sum()
        return (rows - (a - 1) * error) / (total + error)

    expected = {n: omega2(np.delete(logs, i, axis=0)) for i, n in enumerate("abcde")}
    found = known_facts["without_one"]
    for end, choose in (("lowest", min), ("highest", max)):
        name = choose(expected, key=expected.get)
        assert found[end]["name"] == name
        assert found[end]["first"] == pytest.approx(expected[name])


def test_factors_of_the_slowest_over_the_quickest_and_orders(known, known_facts):
    logs = np.log(known["steps"].isel(level=1).to_numpy())
    factors = known_facts["factors"]
    for name, axes in (("initialization", (1, 2)), ("optimizer", (0, 2))):
        means = logs.mean(axis=axes)
        assert factors[name] == pytest.approx(np.exp(means.max() - means.min()))
    cells = logs.mean(axis=2)
    for column, name in enumerate(("SGD", "momentum", "Adam")):
        spread = np.exp(cells[:, column].max() - cells[:, column].min())
        assert factors["within"][name] == pytest.approx(spread)
    pairs = ((0, 1), (0, 2), (1, 2))
    orders = [stats.spearmanr(cells[:, i], cells[:, j])[0] for i, j in pairs]
    assert factors["orders"] == pytest.approx(orders)


def test_cells_have_geometric_means_intervals_and_letters(known, known_facts):
    facts = known_facts
    logs = np.log(known["steps"].isel(level=1).to_numpy())
    for row, name in enumerate("abcde"):
        cell = facts["cells"][name]["Adam"]
        values = logs[row, 2]
        assert cell["mean"] == pytest.approx(np.exp(values.mean()))
        assert cell["num_censored"] == (4 if name == "e" else 0)
        accuracy = known["test_accuracy"].sel(initialization=name, optimizer="Adam")
        assert cell["accuracy"] == pytest.approx(float(accuracy.mean()))
        if name != "e":
            span = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
            assert (cell["low"], cell["high"]) == pytest.approx(tuple(np.exp(span)))
    letters = {name: facts["cells"][name]["Adam"]["letters"] for name in "abcde"}
    assert letters["a"] == "a"  # the quickest
    assert not set(letters["a"]) & set(letters["d"])
    assert facts["search"]["SGD"] == [
        {"lr": 0.1, "steps": 4.0},
        {"lr": 0.4, "steps": 3.0},
    ]
    assert facts["search"]["momentum"] == [{"lr": 0.2, "steps": 5.0}]


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
    assert_allclose(first, np.repeat(first[:, :1], 3, axis=1), rtol=1e-4)
