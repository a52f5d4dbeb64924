"""Weights, order and epoch changed between steps, on each path, against plain torch."""

import numpy as np
import pytest
import torch

from birthmark.errors import SpecError, WeightsError
from birthmark.network import name_parameters
from birthmark.training import Training
from test_training_equality import (
    BATCH,
    assert_equal_to_plain,
    digits,
    make_spec,
    plain_loss,
    plain_modules,
    plain_optimizer,
)

PATHS = ["compiled", "fast", "graphed", "general"]


class Own:
    """Examples drawn at will: some twice, others never, the last batch smaller."""

    def __init__(self, num_replicas, num_examples):
        self.num_replicas, self.num_examples = num_replicas, num_examples

    def __len__(self):
        return 2 * BATCH + 5

    def __call__(self, epoch):
        draws = np.random.default_rng(epoch)
        size = (self.num_replicas, len(self))
        return torch.from_numpy(draws.integers(self.num_examples, size=size))


def start_training(path, **settings):
    data, spec = digits(), make_spec("clipped_cross_entropy").with_settings(settings)
    order = Own(3, len(data.y_train))
    training = Training.from_spec(spec, data, path=path, order=order)
    assert training.path_name == path
    return training, data


def train_by_hand(training, data, epochs, change=None, after=None):
    """The weights that plain torch ends with, and the last losses of an epoch."""
    spec, losses = training.spec, []
    modules = plain_modules(spec, training.initial)
    x = torch.tensor(data.x_train, dtype=torch.float64) / data.full_scale
    y = torch.tensor(data.y_train)
    for row, module in enumerate(modules):
        optimizer = plain_optimizer(spec, module.parameters())
        step = 0
        for epoch in range(epochs):
            total, order = 0.0, training.order(epoch)[row]
            for index in order.split(BATCH):
                if step == after:
                    with torch.no_grad():
                        change(module)
                loss = plain_loss(
                    spec.training.loss, module(x[index]), y[index], spec.training.eps
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(index)
                step += 1
        losses.append(total / len(training.order))
    return modules, losses


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("after", [0, 2, 4])
def test_weights_written_between_steps_are_those_that_go_on(path, after):
    training, data = start_training(path)

    def change(module):
        module[2].weight.mul_(0.5)
        module[0].bias.fill_(0.25)

    while training.step < after:
        training.advance(min(after - training.step, 3))
    now = name_parameters(training.weights)
    changed = {
        "hidden2.w": 0.5 * now["hidden2.w"],
        "hidden1.b": np.full(now["hidden1.b"].shape, 0.25),
    }
    training.set_weights(changed)
    while training.epoch < 2:
        metrics = training.run_epoch()
    modules, losses = train_by_hand(training, data, 2, change, after)
    assert_equal_to_plain(training.weights, modules)
    np.testing.assert_allclose(metrics.train_loss, losses, rtol=1e-9)


@pytest.mark.parametrize("path", PATHS)
def test_what_is_looked_at_cannot_be_written_into(path):
    training, other = (start_training(path)[0] for _ in range(2))
    training.advance(1), other.advance(1)
    for _, layer in training.weights.items():
        for tensor in (layer.w, layer.b):
            with pytest.raises(RuntimeError, match="nplace update to inference tensor"):
                tensor.zero_()
            with pytest.raises(RuntimeError, match="nplace update to inference tensor"):
                tensor[0] += 1
            tensor.numpy().fill(7.0)  # a back door, into the copy alone
    for name, layer in training.weights.items():
        assert torch.equal(layer.w, other.weights[name].w)
        assert torch.equal(layer.b, other.weights[name].b)
    kept = training.weights
    first = kept["hidden1"].w.clone()
    training.advance(1)
    assert torch.equal(kept["hidden1"].w, first)  # the engine writes elsewhere
    assert not torch.equal(training.weights["hidden1"].w, first)


@pytest.mark.parametrize("path", PATHS)
def test_what_stood_behind_the_weights_stays_when_all_are_written(path):
    """Padding of a path is no part of its parameters."""
    one, other = (start_training(path)[0] for _ in range(2))
    one.set_weights(name_parameters(other.weights.clone()))
    for training in (one, other):
        training.run_epoch()
    for name, value in name_parameters(one.weights).items():
        assert torch.equal(value, name_parameters(other.weights)[name]), name


@pytest.mark.parametrize("path", PATHS)
def test_a_training_goes_on_from_another_epoch_with_its_order(path):
    training, data = start_training(path)
    training.advance(2)
    training.set_weights(name_parameters(training.initial))
    training.go_to(4)
    metrics = training.run_epoch()
    spec = training.spec
    x = torch.tensor(data.x_train, dtype=torch.float64) / data.full_scale
    y = torch.tensor(data.y_train)
    for row, module in enumerate(plain_modules(spec, training.initial)):
        total = 0.0
        optimizer = plain_optimizer(spec, module.parameters())
        for index in training.order(4)[row].split(BATCH):
            loss = plain_loss("clipped_cross_entropy", module(x[index]), y[index], 0.09)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(index)
        assert metrics.train_loss[row] == pytest.approx(total / len(training.order))
    assert (metrics.epoch, metrics.step) == (5, 5 * training.steps_per_epoch)


def test_what_does_not_fit_is_refused_and_changes_nothing():
    training, _ = start_training("fast")
    before = training.weights.clone()
    good = torch.zeros_like(before["hidden1"].b)
    with pytest.raises(WeightsError, match=r"hidden1.w is \[3, 64, 12\], got \[3, 2\]"):
        training.set_weights({"hidden1.b": good, "hidden1.w": torch.zeros(3, 2)})
    with pytest.raises(SpecError, match="hidden1.b"):
        training.set_weights({"hidden1.bias": good})
    for name, layer in training.weights.items():
        assert torch.equal(layer.b, before[name].b)


@pytest.mark.parametrize("wrong", [-1, "one too many"])
def test_an_order_of_examples_that_are_not_there_is_refused(wrong):
    training, data = start_training("compiled")
    orders_RN = training.order(0)
    orders_RN[1, 7] = -1 if wrong == -1 else len(data.y_train)

    class Wrong(Own):
        def __call__(self, epoch):
            return orders_RN

    training.order = Wrong(3, len(data.y_train))
    with pytest.raises(SpecError, match="order"):
        training.run_epoch()
