"""A stack equals its members: against separate trainings in plain torch, float64."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from birthmark.network import (
    Chain,
    draw_weights,
    gather_layers,
    make_forward,
    name_parameters,
    stack_modules,
)
from birthmark.seeds import batch_order, buffered_order
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.training import GeneralPath, Training, learning_rate

STEPS = 200
BATCH = 16
ACTIVATIONS = {
    "relu": torch.nn.ReLU,
    "tanh": torch.nn.Tanh,
    "gelu": torch.nn.GELU,
    "sigmoid": torch.nn.Sigmoid,
    "identity": torch.nn.Identity,
}
OPTIMIZERS = {
    "momentum": {"momentum": 0.9, "lr": 0.01},  # at 0.1 rounding grows into chaos
    "nesterov": {"momentum": 0.8, "nesterov": True},
    "weight_decay": {"weight_decay": 1e-2},
    "all of sgd": {"momentum": 0.5, "nesterov": True, "weight_decay": 1e-3},
    "adam": {"optimizer": "adam", "lr": 0.01},
    "adam with decay": {"optimizer": "adam", "lr": 0.01, "weight_decay": 1e-2},
}


def digits(num_train=90, num_test=40):
    from sklearn.datasets import load_digits  # long: child processes import this file

    x, y = load_digits(return_X_y=True)
    x, y = x.astype(np.uint8), y.astype(np.int64)
    stop = num_train + num_test
    return Dataset(
        name="digits",
        x_train=x[:num_train],
        y_train=y[:num_train],
        x_test=x[num_train:stop],
        y_test=y[num_train:stop],
        num_classes=10,
        image_shape=(8, 8),
        full_scale=16,
    )


def make_spec(loss="cross_entropy", activation="relu", replicas=3, **training):
    # chance is 0.1, so this eps clips many examples on the way
    training = {"lr": 0.1, "batch_size": BATCH, "epochs": 40, "eps": 0.09} | training
    return RunSpec(
        data={"name": "digits"},
        network={"widths": [12, 9], "activation": activation},
        training={"loss": loss, **training},
        run={"replicas": replicas, "dtype": "float64", "seed": 5},
    )


def plain_loss(name, z, y, eps):
    if name == "cross_entropy":
        return functional.cross_entropy(z, y)
    if name == "mean_squared_error":
        return functional.mse_loss(z, functional.one_hot(y, z.shape[1]).double())
    p = torch.softmax(z, dim=1)[torch.arange(len(y)), y]
    return -torch.log(p.clamp(eps, 1 - eps)).mean()


def plain_modules(spec, weights):
    """One torch.nn network a replica, with the same start."""
    modules = []
    for replica in range(weights.num_replicas):
        layers = []
        for name, layer in weights.items():
            fan_in, fan_out = layer.w.shape[1:]
            linear = torch.nn.Linear(fan_in, fan_out, dtype=torch.float64)
            with torch.no_grad():
                linear.weight.copy_(layer.w[replica].T)
                linear.bias.copy_(layer.b[replica])
            layers.append(linear)
            if name != "output":
                layers.append(ACTIVATIONS[spec.network.activation]())
        modules.append(torch.nn.Sequential(*layers))
    return modules


def plain_optimizer(spec, parameters):
    t = spec.training
    if t.optimizer == "adam":
        return torch.optim.Adam(
            parameters, t.lr, t.betas, t.adam_eps, weight_decay=t.weight_decay
        )
    return torch.optim.SGD(
        parameters,
        t.lr,
        momentum=t.momentum,
        nesterov=t.nesterov,
        weight_decay=t.weight_decay,
    )


def order_of(spec, replica, epoch, count):
    """A new order every epoch, or one stream through a buffer."""
    size = spec.training.shuffle_buffer
    if size is None:
        return batch_order(spec.run.seed, replica, epoch, count)
    return buffered_order(spec.run.seed, replica, epoch, count, size)


def batches(spec, replica, data, steps):
    """What this replica sees, step by step, the smaller last batches included."""
    x = torch.tensor(data.x_train, dtype=torch.float64) / data.full_scale
    y = torch.tensor(data.y_train)
    done, epoch = 0, 0
    while done < steps:
        order = order_of(spec, replica, epoch, len(y))
        for start in range(0, len(y), BATCH):
            if done == steps:
                return
            index = torch.tensor(order[start : start + BATCH])
            yield x[index], y[index]
            done += 1
        epoch += 1


def train_plainly(spec, module, replica, data, steps=STEPS):
    optimizer = plain_optimizer(spec, module.parameters())
    num_clipped = 0
    for x, y in batches(spec, replica, data, steps):
        z = module(x)
        p = torch.softmax(z, 1)[torch.arange(len(y)), y]
        eps = spec.training.eps
        num_clipped += int(((p < eps) | (p > 1 - eps)).sum())
        optimizer.zero_grad()
        plain_loss(spec.training.loss, z, y, eps).backward()
        optimizer.step()
    return num_clipped


def assert_equal_to_plain(weights, modules):
    for replica, module in enumerate(modules):
        linears = [m for m in module if isinstance(m, torch.nn.Linear)]
        for linear, (_, layer) in zip(linears, weights.items(), strict=True):
            torch.testing.assert_close(
                layer.w[replica], linear.weight.detach().T, rtol=1e-10, atol=1e-12
            )
            torch.testing.assert_close(
                layer.b[replica], linear.bias.detach(), rtol=1e-10, atol=1e-12
            )


def train_with_engine(spec, data, steps=STEPS, replicas=None, path=""):
    training = Training.from_spec(spec, data, replicas=replicas, path=path)
    assert training.path_name == path or not path
    while training.step < steps:
        training.advance(steps - training.step)
    return training


LOSSES = ["cross_entropy", "clipped_cross_entropy", "mean_squared_error"]
BY_HAND = [
    *(("fast", loss, activation) for loss in LOSSES for activation in ACTIVATIONS),
    *(("compiled", loss, name) for loss in LOSSES[:2] for name in ("relu", "identity")),
]


@pytest.mark.parametrize(("path", "loss", "activation"), BY_HAND)
def test_steps_by_hand_equal_separate_plain_trainings(path, loss, activation):
    data, spec = digits(), make_spec(loss, activation)
    modules = plain_modules(spec, Training.from_spec(spec, data).initial)
    training = train_with_engine(spec, data, path=path)
    num_clipped = [train_plainly(spec, m, r, data) for r, m in enumerate(modules)]
    assert_equal_to_plain(training.weights, modules)
    if loss == "clipped_cross_entropy":
        assert min(num_clipped) > 100  # the clip took part
    moved = training.weights["hidden1"].w - training.initial["hidden1"].w
    assert moved.abs().max() > 1e-2  # and something was learned


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    "loss", ["cross_entropy", "clipped_cross_entropy", "mean_squared_error"]
)
def test_general_path_equals_separate_plain_trainings(loss, activation):
    data, spec = digits(), make_spec(loss, activation)
    weights = draw_weights(spec, 64, 10, replicas=range(3))
    modules = plain_modules(spec, weights)
    forward = make_forward(Chain(spec.network))
    path = GeneralPath(spec, name_parameters(weights), forward)
    streams = [batches(spec, replica, data, STEPS) for replica in range(3)]
    for one_step in zip(*streams, strict=True):
        x, y = (torch.stack(part) for part in zip(*one_step, strict=True))
        path.differentiate(x, y)
        path.update(spec.training.lr)
    for replica, module in enumerate(modules):
        train_plainly(spec, module, replica, data)
    assert_equal_to_plain(gather_layers(path.parameters), modules)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", ["cross_entropy", "clipped_cross_entropy"])
def test_every_optimizer_equals_torch_optim(optimizer, loss):
    data, spec = digits(), make_spec(loss, **OPTIMIZERS[optimizer])
    modules = plain_modules(spec, Training.from_spec(spec, data).initial)
    training = train_with_engine(spec, data)
    for replica, module in enumerate(modules):
        train_plainly(spec, module, replica, data)
    assert_equal_to_plain(training.weights, modules)


@pytest.mark.parametrize("optimizer", [{}, {"momentum": 0.5}])
def test_one_replica_alone_equals_the_same_one_in_a_stack(optimizer):
    data, spec = digits(), make_spec("clipped_cross_entropy", **optimizer)
    stack = train_with_engine(spec, data)
    alone = train_with_engine(spec, data, replicas=[2])
    for name, layer in alone.weights.items():
        in_stack = stack.weights[name].w[2:]
        torch.testing.assert_close(layer.w, in_stack, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("path", ["compiled", "fast", "general", "graphed"])
@pytest.mark.parametrize("order", ["independent", "shared"])
def test_a_buffer_gives_each_replica_the_stream_that_leaves_it(order, path):
    data = digits()
    spec = make_spec(batch_order=order, shuffle_buffer=20)
    modules = plain_modules(spec, Training.from_spec(spec, data).initial)
    training = train_with_engine(spec, data, path=path)
    for replica, module in enumerate(modules):
        followed = 0 if order == "shared" else replica
        train_plainly(spec, module, followed, data)
    assert_equal_to_plain(training.weights, modules)


@pytest.mark.parametrize("optimizer", [{}, {"momentum": 0.5}])
def test_shared_order_gives_every_replica_the_batches_of_replica_0(optimizer):
    data = digits()
    spec = make_spec(batch_order="shared", **optimizer)
    modules = plain_modules(spec, Training.from_spec(spec, data).initial)
    training = train_with_engine(spec, data)
    for module in modules:
        train_plainly(spec, module, 0, data)
    assert_equal_to_plain(training.weights, modules)


def test_a_stack_of_convolutional_modules_equals_separate_ones():
    def make(seed):
        torch.manual_seed(seed)
        return torch.nn.Sequential(
            torch.nn.Unflatten(1, (1, 8, 8)),
            torch.nn.Conv2d(1, 4, 3),
            torch.nn.GELU(),
            torch.nn.LayerNorm((4, 6, 6)),
            torch.nn.Flatten(),
            torch.nn.Linear(144, 10),
        ).double()

    data, spec = digits(), make_spec(momentum=0.9)
    modules = [make(seed) for seed in range(3)]
    parameters, forward = stack_modules(modules)
    path = GeneralPath(spec, parameters, forward)
    streams = [batches(spec, replica, data, 60) for replica in range(3)]
    for one_step in zip(*streams, strict=True):
        x, y = (torch.stack(part) for part in zip(*one_step, strict=True))
        path.differentiate(x, y)
        path.update(spec.training.lr)
    for replica, module in enumerate(modules):
        train_plainly(spec, module, replica, data, steps=60)
        for name, value in module.named_parameters():
            torch.testing.assert_close(
                path.parameters[name][replica], value.detach(), rtol=1e-10, atol=1e-12
            )


def torch_schedule(spec, optimizer, per_epoch):
    from torch.optim import lr_scheduler

    schedule = spec.training.schedule
    if schedule.name == "step":
        return lr_scheduler.StepLR(
            optimizer, schedule.epochs * per_epoch, schedule.factor
        )
    if schedule.name == "cosine":
        total = spec.training.epochs * per_epoch
        return lr_scheduler.CosineAnnealingLR(
            optimizer, total, eta_min=schedule.floor * spec.training.lr
        )
    total = schedule.epochs * per_epoch
    return lr_scheduler.LinearLR(optimizer, 1 / total, 1.0, total_iters=total - 1)


@pytest.mark.parametrize(
    "schedule",
    [
        {"name": "step", "epochs": 3, "factor": 0.5},
        {"name": "cosine", "floor": 0.1},
        {"name": "warmup", "epochs": 4},
    ],
)
def test_schedules_equal_those_of_torch(schedule):
    spec = make_spec(schedule=schedule, epochs=10)
    optimizer = torch.optim.SGD([torch.zeros(1)], spec.training.lr)
    scheduler = torch_schedule(spec, optimizer, per_epoch=7)
    for step in range(69):
        expected = optimizer.param_groups[0]["lr"]
        assert learning_rate(spec.training, step, 7) == pytest.approx(expected)
        optimizer.step()
        scheduler.step()
