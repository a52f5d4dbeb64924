"""Deep, convolutional and residual networks and dropout, against plain torch."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from birthmark.errors import HardwareError
from birthmark.network import Chain, make_forward, name_parameters
from birthmark.seeds import batch_order
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.training import Training, check_spec, estimate_memory
from birthmark.training.products import product_setting
from doors import put
from plain_networks import Plain, draw_masks, optimizer_of

STEPS, BATCH = 8, 16  # an epoch is 16 + 16 + 8 examples
NETWORKS = {
    "deep": {"widths": [10] * 30},
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
        "downsample": [1, 3, 5],
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
        "downsample": [2, 3],
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
    training = Training.from_spec(spec, data, **options)
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


@pytest.mark.parametrize("network", [n for n in NETWORKS if "convolutional" in n])
def test_convolutions_in_float32_have_their_channels_last(network, monkeypatch):
    seen = []

    def spy(a, w, *others, **options):
        layout = {"memory_format": torch.channels_last}
        seen.append((a.is_contiguous(**layout), w.is_contiguous(**layout)))
        return functional.conv2d(a, w, *others, **options)

    monkeypatch.setattr("birthmark.network.forward.conv2d", spy)
    data, spec = colours(), make_spec(NETWORKS[network], "float32", lr=0.05)
    training = train_stack(spec, data, steps=3)
    modules = [train_plainly(spec, data, training.initial, row, 3) for row in range(3)]
    assert_equal(training, modules, rtol=2e-4, atol=2e-6)
    assert seen and {*seen} == {(True, True)}


@pytest.mark.parametrize("path", ["compiled", "fast", "general"])
def test_thirty_layers_are_equal_on_every_path(path):
    spec = make_spec(NETWORKS["deep"], lr=0.05)
    training = train_stack(spec, colours(), path=path)
    assert training.path_name in (path, "fast")  # without a C compiler
    modules = [
        train_plainly(spec, colours(), training.initial, row) for row in range(3)
    ]
    assert_equal(training, modules, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("network", ["residual convolutional", "dropout"])
def test_float32_agrees_with_plain_torch_to_its_rounding(network):
    data, spec = colours(), make_spec(NETWORKS[network], "float32", lr=0.02)
    training = train_stack(spec, data)
    modules = [train_plainly(spec, data, training.initial, row) for row in range(3)]
    assert_equal(training, modules, rtol=2e-4, atol=2e-6)


BRANCHED = [name for name in NETWORKS if name not in ("deep", "deep convolutional")]


@pytest.mark.parametrize("network", BRANCHED)
def test_resumed_equals_never_stopped_bit_for_bit(network):
    data, spec = colours(), make_spec(NETWORKS[network], **OPTIMIZERS["adam"])
    whole = train_stack(spec, data)
    first = train_stack(spec, data, steps=5)  # in the middle of the second epoch
    second = Training.from_spec(spec, data)
    second.load_state_dict(*first.state_dict())
    while second.step < STEPS:
        second.advance(1)
    assert_same_bits(second, whole)


@pytest.mark.parametrize("network", BRANCHED)
def test_parts_of_a_stack_make_the_steps_of_the_whole(network):
    data = colours()
    spec = make_spec(NETWORKS[network], lr=0.02, momentum=0.5)
    whole, parted = train_stack(spec, data), train_stack(spec, data, num_parts=2)
    for name, layer in whole.weights.items():
        torch.testing.assert_close(
            layer.w, parted.weights[name].w, rtol=1e-9, atol=1e-11
        )


def assert_same_bits(one, other):
    arrays, others = one.state_dict()[0], other.state_dict()[0]
    for name, array in others.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)


@pytest.mark.parametrize("network", ["dropout", "convolutional with dropout"])
def test_masks_of_a_replica_know_nothing_of_its_stack(network):
    data, spec = colours(), make_spec(NETWORKS[network], lr=0.05)
    stack = train_stack(spec, data)
    alone = train_stack(spec, data, replicas=[2])
    others = train_stack(spec, data, replicas=[2, 0])
    for name, layer in alone.weights.items():
        for together in (stack.weights[name].w[2], others.weights[name].w[0]):
            torch.testing.assert_close(layer.w[0], together, rtol=1e-9, atol=1e-11)


def test_replicas_with_the_same_start_part_under_dropout_alone():
    data = colours()

    def spread(dropout):
        spec = make_spec({"widths": [12, 9], "dropout": dropout}, lr=0.05)
        same = {"batch_order": "shared"}
        tables = spec.model_dump() | {"initialization": {"name": "constant"}}
        tables["initialization"]["value"] = 0.1
        tables["training"] |= same
        training = train_stack(RunSpec(**tables), data)
        w_RIO = training.weights["hidden2"].w
        return float((w_RIO[0] - w_RIO[1]).abs().max())

    assert spread(0.0) < 1e-12
    assert spread(0.3) > 1e-4


@pytest.mark.parametrize("network", ["dropout", "convolutional with dropout"])
def test_evaluation_keeps_every_activation(network):
    data, spec = colours(), make_spec(NETWORKS[network], lr=0.05)
    training = Training.from_spec(spec, data)
    metrics = training.run_epoch()
    x = torch.tensor(data.x_test).double() / data.full_scale
    y = torch.tensor(data.y_test)
    for row in range(3):
        module = Plain(spec.network, training.weights, row, data.example_shape)
        loss = functional.cross_entropy(module(x), y)
        assert metrics.test_loss[row] == pytest.approx(loss.item(), rel=1e-10)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "network", ["convolutional with dropout", "residual with trained scales"]
)
def test_a_replica_with_nan_is_frozen_and_disturbs_nobody(network, optimizer):
    data, spec = colours(), make_spec(NETWORKS[network], **OPTIMIZERS[optimizer])
    healthy, broken = Training.from_spec(spec, data), Training.from_spec(spec, data)
    put(broken, "hidden2.w", (1, 0, 0), torch.inf)
    before = broken.weights.clone()
    for training in (healthy, broken):
        while training.step < STEPS:
            training.advance(1)
    assert broken.nonfinite_step_R.tolist() == [-1, 0, -1]
    for name, layer in broken.weights.items():
        for row in (0, 2):
            assert torch.equal(layer.w[row], healthy.weights[name].w[row])
        assert torch.equal(layer.w[1], before[name].w[1])


def test_trained_scales_are_kept_in_snapshots_and_begin_where_the_spec_says():
    spec = make_spec(NETWORKS["residual with trained scales"], lr=0.05)
    training = train_stack(spec, colours())
    ends = [n for n, layer in training.weights.items() if layer.scale is not None]
    assert ends == ["hidden4", "hidden7"]
    for name in ends:
        assert training.initial[name].scale.tolist() == [0.0] * 3
        assert (training.weights.clone()[name].scale.abs() > 1e-6).all()


def test_branches_of_scale_zero_leave_the_identity():
    spec, data = make_spec(NETWORKS["residual with trained scales"]), colours()
    weights = Training.from_spec(spec, data).initial
    one = {name: value[1] for name, value in name_parameters(weights).items()}
    x = torch.rand(5, data.num_inputs, dtype=torch.float64)
    first, last = weights["hidden1"], weights["output"]
    inner = np.maximum(x.numpy() @ first.w[1].numpy() + first.b[1].numpy(), 0)
    expected = inner @ last.w[1].numpy() + last.b[1].numpy()
    z = make_forward(Chain(spec.network))(one, x)
    np.testing.assert_allclose(z.numpy(), expected, rtol=1e-12)


def test_convolutions_on_a_gpu_are_computed_in_full_and_settings_come_back():
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic
    with product_setting("medium"):
        assert (cudnn.allow_tf32, cudnn.deterministic) == (False, True)
    assert (cudnn.allow_tf32, cudnn.deterministic) == before


@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_convolutions_of_another_precision_are_refused_in_one_line(precision):
    tables = make_spec(NETWORKS["convolutional"], "float32").model_dump()
    tables["run"]["precision"] = precision
    with pytest.raises(HardwareError, match="convolutions are none") as caught:
        check_spec(RunSpec(**tables))
    assert "\n" not in str(caught.value)


def test_the_estimate_of_memory_counts_maps_not_widths():
    network = {"kind": "convolutional", "widths": [16, 16]}
    spec = make_spec(network, "float32", batch_size=1000)
    halved = make_spec({**network, "downsample": [1]}, "float32", batch_size=1000)
    steps = [estimate_memory(one).steps for one in (spec, halved)]
    # 8 x 8 maps of 16 channels, float32, for a thousand examples
    assert steps[0] - steps[1] > 1000 * 4 * 2 * 16 * (64 - 16)
    weights = 3 * ((9 + 1) * 16 + (9 * 16 + 1) * 16 + (16 + 1) * 10)
    assert estimate_memory(spec).weights == 3 * weights * 4
