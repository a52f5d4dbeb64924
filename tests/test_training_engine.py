"""The engine's books: metrics, freezing, resuming."""

import dataclasses

import numpy as np
import pytest
import torch

from birthmark.data import load_dataset
from birthmark.errors import HardwareError, SpecError
from birthmark.seeds import batch_order
from birthmark.spec import RunSpec
from birthmark.training import (
    Training,
    check_precision,
    find_device,
    find_loss,
    has_bf16_products,
    initial_configuration,
)
from doors import put
from test_training_equality import BATCH, digits, make_spec, plain_loss, plain_modules


def visit_plainly(spec, data, module, replica, epoch):
    """Train one epoch and count, example by example, what the engine must count."""
    x = torch.tensor(data.x_train, dtype=torch.float64) / data.full_scale
    y = torch.tensor(data.y_train)
    eps, lr = spec.training.eps, spec.training.lr
    loss = correct = below = above = 0.0
    order = batch_order(spec.run.seed, replica, epoch, len(y))
    for start in range(0, len(y), BATCH):
        index = torch.tensor(order[start : start + BATCH])
        z = module(x[index])
        p = torch.softmax(z, 1)[torch.arange(len(index)), y[index]]
        mean = plain_loss(spec.training.loss, z, y[index], eps)
        loss += mean.item() * len(index)
        correct += int((z.argmax(1) == y[index]).sum())
        below += int((p < eps).sum())
        above += int((p > 1 - eps).sum())
        grads = torch.autograd.grad(mean, list(module.parameters()))
        with torch.no_grad():
            for parameter, grad in zip(module.parameters(), grads, strict=True):
                parameter -= lr * grad
    return loss / len(y), correct / len(y), below, above


@pytest.mark.parametrize(
    "loss", ["cross_entropy", "clipped_cross_entropy", "mean_squared_error"]
)
def test_metrics_are_those_of_an_epoch_counted_example_by_example(loss):
    data, spec = digits(), make_spec(loss)
    spec = spec.with_settings(
        {
            "record.evaluate_train": True,
            "record.epochs": [3],
            "record.distributions": [],
        }
    )
    training = Training.from_spec(spec, data)
    modules = plain_modules(spec, training.initial)
    start = training.metrics_at_start()
    assert np.isnan(start.train_loss).all()
    for epoch in range(3):
        metrics = training.run_epoch()
        for replica, module in enumerate(modules):
            expected = visit_plainly(spec, data, module, replica, epoch)
            found = (
                metrics.train_loss[replica],
                metrics.train_accuracy[replica],
                metrics.below_eps[replica],
                metrics.saturated[replica],
            )
            np.testing.assert_allclose(found, expected, rtol=1e-10)
        assert np.isnan(metrics.train_loss_evaluated).all() == (epoch != 2)
    abandoned = metrics.below_eps if loss == "clipped_cross_entropy" else 0
    np.testing.assert_array_equal(metrics.abandoned, abandoned * np.ones(3))
    for x, y, found_loss, found_accuracy in (
        (data.x_test, data.y_test, metrics.test_loss, metrics.test_accuracy),
        (
            data.x_train,
            data.y_train,
            metrics.train_loss_evaluated,
            metrics.train_accuracy_evaluated,
        ),
    ):
        for replica, module in enumerate(modules):
            z = module(torch.tensor(x, dtype=torch.float64) / 16)
            expected_loss = plain_loss(loss, z, torch.tensor(y), spec.training.eps)
            np.testing.assert_allclose(found_loss[replica], expected_loss.item())
            accuracy = (z.argmax(1).numpy() == y).mean()
            np.testing.assert_allclose(found_accuracy[replica], accuracy)


def test_equal_outputs_count_as_the_first_class_only():
    data = digits()
    spec = make_spec().with_settings({"initialization.name": "zeros"})
    share = (data.y_test == 0).mean()
    accuracy = Training.from_spec(spec, data).metrics_at_start().test_accuracy
    np.testing.assert_allclose(accuracy, share)


def test_preprocessing_is_applied_as_the_data_set_says():
    data = dataclasses.replace(digits(), mean=0.3, std=0.4)
    training = Training.from_spec(make_spec(), data)
    module = plain_modules(make_spec(), training.initial)[0]
    x = (torch.tensor(data.x_test, dtype=torch.float64) / 16 - 0.3) / 0.4
    expected = plain_loss("cross_entropy", module(x), torch.tensor(data.y_test), 0.09)
    found = training.metrics_at_start().test_loss[0]
    np.testing.assert_allclose(found, expected.item())


@pytest.mark.parametrize("optimizer", [{}, {"momentum": 0.5}])
def test_nan_freezes_one_replica_and_leaves_its_neighbours_alone(optimizer):
    data, spec = digits(), make_spec("mean_squared_error", **optimizer)
    healthy, ill = Training.from_spec(spec, data), Training.from_spec(spec, data)
    for training in (healthy, ill):
        training.advance(4)
    put(ill, "hidden2.b", (1, 0), float("nan"))
    kept = ill.weights["hidden1"].w[1].clone()
    for training in (healthy, ill):
        metrics = [training.run_epoch() for _ in range(3)]
    np.testing.assert_array_equal(metrics[-1].nonfinite_step, [-1, 4, -1])
    assert np.isnan(metrics[-1].train_loss).tolist() == [False, True, False]
    assert np.isnan(metrics[-1].test_accuracy).tolist() == [False, True, False]
    torch.testing.assert_close(ill.weights["hidden1"].w[1], kept, rtol=0, atol=0)
    for replica in (0, 2):
        for name, layer in ill.weights.items():
            other = healthy.weights[name].w[replica]
            torch.testing.assert_close(layer.w[replica], other, rtol=0, atol=0)


def test_counts_of_a_failed_replica_do_not_depend_on_its_neighbours():
    data, spec = digits(), make_spec("mean_squared_error")
    stack, alone = (
        Training.from_spec(spec, data),
        Training.from_spec(spec, data, replicas=[1]),
    )
    for training, row in ((stack, 1), (alone, 0)):
        training.advance(2)
        put(training, "output.b", (row, 0), float("nan"))
    for _ in range(2):
        in_stack, by_itself = stack.run_epoch(), alone.run_epoch()
        for name in ("below_eps", "saturated", "nonfinite_step"):
            assert getattr(in_stack, name)[1] == getattr(by_itself, name)[0]
    assert in_stack.below_eps[1] == 0 < in_stack.below_eps[0]


def test_weights_whose_sum_overflows_are_still_finite():
    spec = make_spec().with_settings({"run.dtype": "float32", "training.eps": 1e-7})
    training = Training.from_spec(spec, digits())
    put(training, "hidden1.w", (0, 0), 3e38)  # of a pixel that is always 0
    metrics = training.run_epoch()
    assert (metrics.nonfinite_step == -1).all()


def test_a_learning_rate_that_explodes_freezes_all_and_ends_quietly():
    spec = make_spec("mean_squared_error", lr=1e30)
    training = Training.from_spec(spec, digits())
    metrics = [training.run_epoch() for _ in range(3)][-1]
    assert (metrics.nonfinite_step >= 0).all()
    assert (metrics.nonfinite_step < 12).all()
    assert np.isnan(metrics.test_loss).all()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.9},
        {"optimizer": "adam"},
        {"loss": "cross_entropy"},
        {"shuffle_buffer": 20},
    ],
)
@pytest.mark.parametrize("stop", [3, 6, 13])
def test_stopped_and_resumed_equals_never_stopped_bit_for_bit(settings, stop):
    data = digits()
    spec = make_spec(**{"loss": "clipped_cross_entropy", **settings})
    spec = spec.with_settings({"run.dtype": "float32"})
    whole, first, second = (Training.from_spec(spec, data) for _ in range(3))
    expected = [whole.run_epoch() for _ in range(4)][-1]
    while first.step < stop:
        first.advance(stop - first.step)
    second.load_state_dict(*first.state_dict())
    first.run_epoch()  # what goes on must not reach into the saved state
    while second.epoch < 4:
        found = second.run_epoch()
    for name, layer in whole.weights.items():
        torch.testing.assert_close(second.weights[name].w, layer.w, rtol=0, atol=0)
        torch.testing.assert_close(second.weights[name].b, layer.b, rtol=0, atol=0)
    for key, value in dataclasses.asdict(expected).items():
        np.testing.assert_array_equal(getattr(found, key), value)


def test_a_frozen_replica_stays_frozen_after_resuming():
    data, spec = digits(), make_spec()
    first, second = Training.from_spec(spec, data), Training.from_spec(spec, data)
    put(first, "output.b", (0, 0), float("inf"))
    first.advance(3)
    second.load_state_dict(*first.state_dict())
    metrics = second.run_epoch()
    np.testing.assert_array_equal(metrics.nonfinite_step, [0, -1, -1])
    kept = first.weights["hidden1"].w[0]
    torch.testing.assert_close(second.weights["hidden1"].w[0], kept, rtol=0, atol=0)


def test_the_edges_of_the_clip_are_those_of_torch_in_float32():
    z = torch.tensor([[17.0, 0.0], [16.0, 0.0], [-16.2, 0.0], [-16.0, 0.0]])
    y, eps = torch.zeros(4, dtype=torch.int64), 1e-7
    leaf = z.clone().requires_grad_()
    p = torch.softmax(leaf, 1)[:, 0]
    (-torch.log(p.clamp(eps, 1 - eps))).sum().backward()
    overwritten = z.clone()
    find_loss("clipped_cross_entropy").differentiate_(overwritten, y, eps)
    torch.testing.assert_close(overwritten, leaf.grad)
    assert (leaf.grad == 0).all(dim=1).tolist() == [True, False, True, False]


def test_unknown_devices_and_precisions_are_refused_in_one_line():
    with pytest.raises(HardwareError, match="'cuda:9' is not on this machine"):
        find_device("cuda:9")
    with pytest.raises(HardwareError, match="'abacus' is not on this machine"):
        find_device("abacus")
    with pytest.raises(HardwareError, match="'tf32' needs an NVIDIA GPU"):
        check_precision(make_single("tf32"))
    with pytest.raises(SpecError, match="did you mean 'cross_entropy'"):
        find_loss("crossentropy")


def make_single(precision, **settings):
    device = {"run.dtype": "float32", "run.device": "cpu", "run.precision": precision}
    return make_spec().with_settings(device | settings)


def test_bf16_without_hardware_is_refused_in_one_line():
    if not has_bf16_products():
        with pytest.raises(HardwareError, match="'bf16' needs a CPU with AMX, or"):
            Training.from_spec(
                make_single("bf16", **{"training.momentum": 0.5}), digits()
            )
    with pytest.raises(HardwareError, match="needs dtype 'float32'"):
        check_precision(make_single("bf16", **{"run.dtype": "float64"}))


@pytest.mark.parametrize("settings", [{}, {"training.momentum": 0.5}])
def test_bf16_products_are_coarser_and_weights_stay_float32(settings):
    exact, coarse = (make_single(p, **settings) for p in ("full", "bf16"))
    try:
        check_precision(coarse)
    except HardwareError as error:
        pytest.skip(str(error))
    (one, found), (other, expected) = (
        (training, training.run_epoch())
        for training in (Training.from_spec(spec, digits()) for spec in (coarse, exact))
    )
    difference = np.abs(found.test_loss / expected.test_loss - 1)
    assert (difference > 1e-6).all()  # bfloat16 has 8 bits: it took effect
    assert (difference < 1e-2).all()
    for name, layer in one.weights.items():
        assert layer.w.dtype == torch.float32
        assert (layer.w != layer.w.bfloat16()).any()
        moved = (layer.w - one.initial[name].w).norm()
        expected_move = (other.weights[name].w - other.initial[name].w).norm()
        torch.testing.assert_close(moved, expected_move, rtol=0.05, atol=0)
    assert torch.get_float32_matmul_precision() == "highest"


def test_rules_that_look_at_the_data_look_at_the_first_training_examples():
    spec = RunSpec(
        data={"name": "digits"},
        network={"widths": [60, 40]},
        initialization={"name": "lsuv", "examples": 300},
        training={"epochs": 1},
        run={"replicas": 2, "dtype": "float64", "device": "cpu"},
    )
    data = load_dataset(spec.data)
    a_BI = torch.tensor(data.x_train[:300], dtype=torch.float64) / 16
    start, drawn = Training.from_spec(spec, data).initial, initial_configuration(spec)
    for name, layer in start.items():
        z_RBO = a_BI @ layer.w + layer.b[:, None]
        np.testing.assert_allclose(z_RBO.var(dim=(1, 2)), 1, atol=0.1)
        a_BI = z_RBO.relu()
        torch.testing.assert_close(drawn[name].w, layer.w, rtol=0, atol=0)
