"""Details of the protocol: each arm is what plain torch makes of the same detail."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from torch import nn

from birthmark.data import load_dataset
from birthmark.seeds import batch_order
from birthmark.store import open_store
from birthmark_experiments import shipped_results
from birthmark_experiments.protocol_details import EXPERIMENT, measure
from birthmark_experiments.protocol_details.details import find_near
from birthmark_experiments.protocol_details.facts import (
    FROM_LOGITS,
    NEIGHBOURS,
    REFERENCE,
    summarize,
)
from birthmark_experiments.protocol_details.protocol import PROTOCOLS, find_spec

QUICK = PROTOCOLS["quick"]
LR, BATCH, EPS = 0.1, 128, 1e-7


def begin(name):
    training = measure.prepare(QUICK.arms[name], QUICK)
    return training, load_dataset(training.spec.data)


def train_plainly(model, x, y, orders):
    """Mean losses of epochs, by autograd through clipped probabilities."""
    losses = []
    for order in orders:
        total = 0.0
        for batch in torch.as_tensor(order).split(BATCH):
            p = model(x[batch]).softmax(1)[torch.arange(len(batch)), y[batch]]
            loss = -p.clamp(EPS, 1 - EPS).log()
            model.zero_grad()
            loss.mean().backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= LR * parameter.grad
            total += float(loss.detach().sum())
        losses.append(total / len(x))
    return losses


def make_model(training, *, bias=True, first=None):
    """A plain network with the start of replica 0."""
    layers = []
    for name, layer in training.training.initial.items():
        w = layer.w[0] if first is None or name != "hidden1" else first
        linear = nn.Linear(w.shape[0], w.shape[1], bias=bias)
        with torch.no_grad():
            linear.weight.copy_(w.T)
            if bias:
                linear.bias.copy_(layer.b[0])
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def read_data(dataset):
    x = torch.from_numpy(dataset.x_train.reshape(len(dataset.x_train), -1))
    return x.float() / dataset.full_scale, torch.from_numpy(dataset.y_train).long()


def orders_of(training, epochs):
    order = training.training.order
    return [order(epoch)[0].numpy() for epoch in range(epochs)]


def test_draws_with_replacement_are_even_and_miss_one_in_e():
    training, dataset = begin("drawn with replacement")
    first, second, *_ = orders_of(training, 3)
    count = len(dataset.y_train)
    assert len(first) == count
    assert len(np.unique(first)) / count == pytest.approx(1 - 1 / math.e, abs=0.05)
    assert not np.array_equal(first, second)


def test_the_same_batches_come_every_epoch():
    training, dataset = begin("same batches every epoch")
    first, *others = orders_of(training, 3)
    assert_array_equal(first, batch_order(0, 0, 0, len(dataset.y_train)))
    assert all(np.array_equal(first, other) for other in others)


def test_the_same_batches_come_in_a_new_order():
    training, dataset = begin("same batches in a new order")
    count = len(dataset.y_train)
    made = batch_order(0, 0, 0, count)
    whole = count // BATCH * BATCH

    def batches(order):
        return {frozenset(b) for b in order[:whole].reshape(-1, BATCH).tolist()}

    orders = orders_of(training, 12)
    assert {frozenset(batches(order)) for order in orders} == {frozenset(batches(made))}
    assert len({order.tobytes() for order in orders}) == 2  # 2 whole batches here
    for order in orders:
        assert_array_equal(order[whole:], made[whole:])


def blocks_of(order, size):
    """Who stands together, in the order in which they stand; the rest is left out."""
    whole = len(order) // size * size
    return [frozenset(block) for block in order[:whole].reshape(-1, size).tolist()]


def test_blocks_are_shuffled_within_and_moved_only_where_the_place_is_new():
    kept, dataset = begin("same neighbours, same place")
    count = len(dataset.y_train)
    size = find_near(count)
    made = batch_order(0, 0, 0, count)
    first, second = orders_of(kept, 2)
    assert blocks_of(first, size) == blocks_of(second, size) == blocks_of(made, size)
    assert not np.array_equal(first, second)

    moved, _ = begin("same neighbours, new place")
    together = {frozenset(made[i : i + size].tolist()) for i in range(0, count, size)}
    places = []
    for order in orders_of(moved, 3):
        assert_array_equal(np.sort(order), np.arange(count))
        left = order.tolist()
        while left:  # block by block, the smaller one where it stands
            block = next(b for b in together if set(left[: len(b)]) == b)
            places.append(min(block))
            left = left[len(block) :]
    num = len(together)
    by_epoch = [places[i : i + num] for i in range(0, len(places), num)]
    assert len({tuple(x) for x in by_epoch}) == 3
    assert all(sorted(x) == sorted(by_epoch[0]) for x in by_epoch)


def test_a_drifting_order_nearly_repeats_the_last_and_loses_the_first():
    training, dataset = begin("same place, new neighbours")
    count = len(dataset.y_train)
    orders = orders_of(training, 60)
    assert_array_equal(orders[0], batch_order(0, 0, 0, count))
    assert_array_equal(np.sort(orders[59]), np.arange(count))
    assert_array_equal(training.training.order(20)[0], orders[20])  # asked again

    def correlation(a, b):
        return np.corrcoef(np.argsort(orders[a]), np.argsort(orders[b]))[0, 1]

    assert min(correlation(e, e + 1) for e in range(59)) > 0.8
    assert abs(correlation(0, 59)) < 0.4


@pytest.mark.parametrize(
    "name",
    [
        "drawn with replacement",
        "same batches every epoch",
        "same batches in a new order",
        "same neighbours, same place",
        "same neighbours, new place",
        "same place, new neighbours",
        "buffer of 10,000, width 16",
        "buffer of 1,000, width 12",
        "buffer of 2,000, width 20",
    ],
)
def test_an_arm_trains_as_plain_torch_does(results, name):
    training, dataset = begin(name)
    epochs = QUICK.arms[name].epochs
    losses = train_plainly(
        make_model(training), *read_data(dataset), orders_of(training, epochs)
    )
    found = results["train_loss"].sel(arm=name, replica=0)[:epochs]
    assert_allclose(found, losses, rtol=1e-4)


def test_without_the_last_batch_its_examples_are_not_seen(results):
    training, dataset = begin("last batch dropped")
    whole = len(dataset.y_train) // BATCH * BATCH
    assert whole < len(dataset.y_train)
    orders = orders_of(training, 3)
    assert {len(order) for order in orders} == {whole}
    losses = train_plainly(make_model(training), *read_data(dataset), orders)
    seen = np.array(losses) * len(dataset.y_train) / whole
    found = results["train_loss"].sel(arm="last batch dropped", replica=0)
    assert_allclose(found, seen, rtol=1e-4)


def test_without_biases_it_is_a_network_that_has_none(results):
    training, dataset = begin("no biases")
    model = make_model(training, bias=False)
    losses = train_plainly(model, *read_data(dataset), orders_of(training, 3))
    found = results["train_loss"].sel(arm="no biases", replica=0)
    assert_allclose(found, losses, rtol=1e-4)


def test_three_channels_are_three_equal_inputs_with_weights_of_their_own(results):
    training, dataset = begin("three channels")
    x, y = read_data(dataset)
    inputs, width = x.shape[1], QUICK.arms["three channels"].width
    bound = math.sqrt(6 / (3 * inputs + width))
    # any three matrices whose sum is sqrt(3) times that of the arm
    total = math.sqrt(3) * training.weights["hidden1"].w[0].clone()
    parts = torch.empty(2, inputs, width).uniform_(-bound, bound)
    first = torch.cat([parts[0], parts[1], total - parts.sum(0)])
    model = make_model(training, first=first)
    losses = train_plainly(model, x.repeat(1, 3), y, orders_of(training, 2))
    found = results["train_loss"].sel(arm="three channels", replica=0)[:2]
    assert_allclose(found, losses, rtol=1e-4)
    # in law that of Glorot's rule for three times the inputs
    drawn = training.weights["hidden1"].w[0]
    assert float(drawn.std()) == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_the_reference_is_the_run_of_the_reproduction(folder, results):
    spec = find_spec(QUICK, 16)
    records = open_store(folder / "store").records(spec.run_key, distributions=False)
    found = results["test_loss"].sel(arm=f"{REFERENCE}, width 16", replica=[0, 1])[:3]
    assert_allclose(found, records["test_loss"][1:4], rtol=1e-6)


def test_what_is_measured_already_is_not_measured_again(folder, results, monkeypatch):
    monkeypatch.setattr(measure, "prepare", None)  # no training could begin
    again = EXPERIMENT.measure("quick", folder)
    xr.testing.assert_identical(again, results)


def test_a_detail_that_is_trained_for_longer_is_trained_anew(folder, results):
    arms = {"no biases": replace(QUICK.arms["no biases"], epochs=2)}
    longer = replace(QUICK, arms=arms, reproduced=())
    found = measure.measure(longer, folder)
    assert found.sizes["epoch"] == 2
    assert_array_equal(
        found["train_loss"].sel(arm="no biases", replica=0),
        results["train_loss"].sel(arm="no biases", replica=0)[:2],
    )
    hotter = replace(longer, like=QUICK.like.with_settings({"training.lr": 0.5}))
    other = measure.measure(hotter, folder)["train_loss"]
    assert (other != found["train_loss"]).all()


def made(loss_ATR, names, width=250, buffer=0, test=None) -> xr.Dataset:
    """Results of arms whose curves are known; the least published at 250 is 0.12."""
    loss_ATR = np.asarray(loss_ATR)
    num_arms, num_epochs, num_replicas = loss_ATR.shape
    dims = ("arm", "epoch", "replica")
    return xr.Dataset(
        {
            "train_loss": (dims, loss_ATR),
            "test_loss": (dims, loss_ATR if test is None else test),
        },
        {
            "arm": names,
            "epoch": np.arange(1, num_epochs + 1),
            "replica": np.arange(num_replicas),
            "width": ("arm", np.broadcast_to(width, num_arms)),
            "buffer": ("arm", np.broadcast_to(buffer, num_arms)),
        },
        {"protocol": "", "fork": 250},
    )


def test_past_the_fork_is_the_first_epoch_at_half_the_published_minimum():
    loss = np.full((2, 5, 2), np.nan, dtype=np.float32)
    loss[0, :, 0] = 0.2, 0.12, 0.06, 0.3, 0.02
    loss[1, :3, :] = 0.7
    names = ["no biases", f"{REFERENCE}, width 250"]
    reference, changed = summarize(made(loss, names, test=1 + loss))["arms"]
    assert reference["is_reference"]
    assert (reference["epochs"], reference["replicas"]) == (3, 2)
    assert np.isnan(reference["passed"]).all()
    assert changed["passed"] == [3]
    assert changed["min_test_epoch"] == [5]
    assert changed["final_train"] == pytest.approx([0.12])


def test_a_rise_is_dated_where_the_loss_stays_above_until_the_end():
    loss = np.full(400, 0.5)
    loss[150] = 16.0  # a spike of one epoch is no rise
    loss[200:] = np.linspace(0.5, 15.9, 200)
    [arm] = summarize(made(loss[None, :, None], ["x"], buffer=1_000))["arms"]
    rate = (15.9 - 0.5) / 199
    assert arm["rise"][0] == pytest.approx(201 + 0.5 / rate, abs=2)
    # 2.1 % of HASYv2 are of the most frequent class, on which a lost network stands
    lost = 0.9 * -math.log(1e-7) * (1 - 0.021)
    assert arm["plateau"][0] == pytest.approx(201 + (lost - 0.5) / rate, abs=2)
    assert np.isnan(arm["passed"]).all()


@pytest.fixture(scope="module")
def shipped():
    return EXPERIMENT.summarize(shipped_results("protocol-details"))


def through(facts, width):
    """Share of networks that get through, from the full shuffle to ever less."""
    at = {
        one["buffer"] or math.inf: one["num_passed"] / one["replicas"]
        for one in facts["arms"]
        if one["width"] == width
        and (one["is_reference"] or one["buffer"])
        and one["name"] != FROM_LOGITS
    }
    return [at[size] for size in sorted(at, reverse=True)]


def test_the_smaller_the_buffer_the_fewer_of_the_shipped_networks_get_through(shipped):
    for width in (250, 300):
        shares = through(shipped, width)
        assert shares[0] == 1
        assert shares[-1] == 0
        assert shares == sorted(shares, reverse=True)
    assert shipped["fitting"] == [2_000]


def test_with_the_fitting_buffer_the_shipped_curves_are_the_published_ones(shipped):
    arms = {(one["buffer"], one["width"]): one for one in shipped["arms"]}
    for width in (150, 250):
        found, published = arms[2_000, width], shipped["published"][width]
        ratio = found["over_published"]
        assert ratio["min_train"] == pytest.approx(1, abs=0.2)
        assert ratio["min_train_epoch"] == pytest.approx(1, abs=0.25)
        assert 0.75 < ratio["rise"] < 1 < ratio["plateau"] < 1.3
        least = np.mean(found["min_test"])
        assert least == pytest.approx(published["min_test_loss"], rel=0.05)


def test_which_buffers_fit_is_told_by_both_widths():
    loss = {  # by width and buffer, of two networks
        (250, 5): (0.1, 0.1),
        (250, 6): (0.1, 0.01),  # one gets through
        (250, 7): (0.1, 0.1),
        (300, 5): (0.01, 0.02),
        (300, 6): (0.01, 0.02),
        (300, 7): (0.01, 0.1),  # one does not
        (250, 0): (0.1, 0.1),  # no stream
    }
    widths, sizes = zip(*loss, strict=True)
    names = [f"arm {place}" for place in range(len(loss))]
    values = np.array(list(loss.values()))[:, None]
    results = made(values, names, widths, sizes)
    facts = summarize(results)
    assert facts["fitting"] == [5]
    assert facts["level"] == 0.06
    first = facts["arms"][0]["over_published"]
    assert first["min_train"] == pytest.approx(0.1 / 0.12)
    assert first["min_train_epoch"] == pytest.approx(1 / 130)


def test_kept_company_stops_the_shipped_networks_and_a_kept_place_does_not(shipped):
    kept = shipped["neighbours"]
    passed = {name: (one["num_passed"], one["replicas"]) for name, one in kept.items()}
    assert passed == {
        "same neighbours, same place": (0, 1),
        "same neighbours, new place": (0, 3),
        "same place, new neighbours": (3, 3),
    }
    # 0 of 4 against 6 of 6
    assert shipped["company"].n == 10
    expected = stats.fisher_exact([[0, 4], [6, 0]]).pvalue
    assert shipped["company"].p == pytest.approx(expected)


def test_company_that_changes_nothing_is_told_from_nothing():
    names = [*NEIGHBOURS, REFERENCE]
    low, high = 0.01, 0.1
    passes = [(low, high, low), (low, high, high), (low, low, high), (high, high, low)]
    found = summarize(made(np.array(passes)[:, None], names))["company"]
    assert (found.n, found.p) == (12, 1)
    late = [[(high,) * 2] * 3, [(high,) * 2] * 3, [(high,) * 2] * 3]
    after = [[(high,) * 2] * 2 + [(low,) * 2]]  # past the fork in the last epoch
    loss = np.array(late + after)
    loss[:3, 2] = np.nan  # which the others do not have
    assert summarize(made(loss, names))["company"].p == 1


def test_the_shipped_fork_is_passed_in_other_folds_too(shipped):
    folds = [one for one in shipped["arms"] if one["name"].startswith("fold ")]
    assert [one["num_passed"] for one in folds] == [1, 1, 1]
    assert shipped["trend"].n == 11  # of which they are none
