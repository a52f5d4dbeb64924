"""Deep, convolutional and residual networks and dropout, against plain torch."""

import numpy as np
import pytest
import torch
from plain_networks import Plain, draw_masks, optimizer_of
from torch.nn import functional

from birthmark.data import load_dataset
from birthmark.errors import HardwareError
from birthmark.seeds import batch_order
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.training import Training, check_mixture, check_spec, choose_path

STEPS, BATCH = 12, 16
NETWORKS = {
    "deep": {"widths": [10] * 30},
    "deep tanh": {"widths": [10] * 30, "activation": "tanh"},
    "convolutional": {
        "kind": "convolutional",
        "widths": [5, 6, 7],
        "downsample": [2, 3],
    },
    "deep convolutional": {
        "kind": "convolutional",
        "widths": [4] * 29,
        "downsample": [10, 20],
    },
    "residual": {"widths": [9] * 7, "residual": "identity", "branch_scale": 0.5},
    "residual that grows": {
        "widths": [6, 8, 8, 11, 11],
        "residual": "identity",
        "block": 1,
        "activation": "tanh",
    },
    "residual with trained scales": {
        "widths": [9] * 7,
        "residual": "identity",
        "block": 3,
        "branch_scale": 0.0,
        "train_scales": True,
    },
    "residual convolutional": {
        "kind": "convolutional",
        "widths": [4, 4, 5, 7, 7],
        "downsample": [2, 3, 4],
        "residual": "identity",
        "train_scales": True,
    },
    "convolutional, kernel 5": {
        "kind": "convolutional",
        "widths": [4, 4],
        "kernel": 5,
        "downsample": [1],
    },
    "dropout": {"widths": [12, 9], "dropout": 0.3},
    "convolutional with dropout": {
        "kind": "convolutional",
        "widths": [4, 4, 5],
        "downsample": [2],
        "residual": "identity",
        "dropout": 0.2,
    },
}
OPTIMIZERS = {
    "sgd": {"lr": 0.05},
    "momentum": {"lr": 0.02, "momentum": 0.9},
    "adam": {"optimizer": "adam", "lr": 0.005},
}


def colours(num_train=40, num_test=20, side=7):
    """Three channels, an odd side, so that no axis can be taken for another."""
    draw = np.random.default_rng(3)
    shape = (num_train + num_test, 3 * side * (side + 1))
    x = draw.integers(0, 256, shape, dtype=np.uint8)
    y = (np.arange(len(x)) % 4).astype(np.int64)
    return Dataset(
        name="colours",
        x_train=x[:num_train],
        y_train=y[:num_train],
        x_test=x[num_train:],
        y_test=y[num_train:],
        num_classes=4,
        image_shape=(side, side + 1),
        full_scale=255,
    )


def make_spec(network, dtype="float64", replicas=3, **training):
    training = {"loss": "cross_entropy", "batch_size": BATCH, "epochs": 4, **training}
    return RunSpec(
        data={"name": "digits"},
        network=network,
        initialization={"name": "he_normal", "bias": {"name": "normal", "std": 0.1}},
        training=training,
        run={"replicas": replicas, "seed": 7, "dtype": dtype, "device": "cpu"},
    )


def batches(data, seed, replica, dtype):
    """What a replica sees, step by step; the last batch of an epoch is smaller."""
    x = torch.tensor(data.x_train).to(dtype) / data.full_scale
    y = torch.tensor(data.y_train)
    for epoch in range(100):
        order = torch.tensor(batch_order(seed, replica, epoch, len(y)))
        for index in order.split(BATCH):
            yield x[index], y[index]


def train_plainly(spec, data, weights, replica, steps=STEPS):
    dtype = getattr(torch, spec.run.dtype)
    module = Plain(spec.network, weights, replica, data.example_shape)
    optimizer = optimizer_of(spec.training, module.parameters())
    shapes = hidden_shapes(module, data)
    stream = batches(data, spec.run.seed, replica, dtype)
    for step, (x, y) in zip(range(steps), stream, strict=False):
        masks = None
        if spec.network.dropout:
            masks = draw_masks(spec, replica, step, len(x), shapes)
        optimizer.zero_grad()
        functional.cross_entropy(module(x, masks), y).backward()
        optimizer.step()
    return module


def hidden_shapes(module, data):
    """Shapes of the hidden layers' outputs, seen in a forward pass."""
    seen = []
    hooks = [
        layer.register_forward_hook(lambda _m, _x, z: seen.append(tuple(z.shape[1:])))
        for layer in module.layers[:-1]
    ]
    module(torch.zeros(1, data.num_inputs, dtype=module.layers[0].weight.dtype))
    for hook in hooks:
        hook.remove()
    return seen


def train_stack(spec, data, steps=STEPS, **options):
    training = Training(spec, data, **options)
    while training.step < steps:
        training.advance(steps - training.step)
    return training


def assert_equal(training, modules, **tolerance):
    for row, module in enumerate(modules):
        scales = iter(module.scales)
        for (name, layer), plain in zip(
            training.weights.items(), module.layers, strict=True
        ):
            w_OI = plain.weight.detach().flatten(1)
            torch.testing.assert_close(layer.w[row].T, w_OI, **tolerance, msg=name)
            torch.testing.assert_close(layer.b[row], plain.bias.detach(), **tolerance)
            if layer.scale is not None:
                scale = next(scales).detach()
                torch.testing.assert_close(layer.scale[row], scale, **tolerance)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_stack_equals_separate_trainings_in_plain_torch(network, optimizer):
    data, spec = colours(), make_spec(NETWORKS[network], **OPTIMIZERS[optimizer])
    training = train_stack(spec, data)
    modules = [train_plainly(spec, data, training.initial, row) for row in range(3)]
    assert_equal(training, modules, rtol=1e-9, atol=1e-11)
    moved = training.weights["output"].w - training.initial["output"].w
    assert moved.abs().max() > 1e-3
