"""The steps in C: against plain torch, at awkward sizes, on other processors."""

import contextlib
import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.training import Training
from birthmark.training.compiled import CompiledPath, share_out
from doors import put
from kills import start
from test_training_equality import digits, make_spec

pytestmark = pytest.mark.skipif(
    shutil.which(os.environ.get("CC", "cc")) is None, reason="there is no C compiler"
)


def random_dataset(num_inputs, num_classes, num_train=75, num_test=11):
    draws = np.random.default_rng(3)
    x = draws.integers(0, 256, (num_train + num_test, num_inputs), dtype=np.uint8)
    y = draws.integers(0, num_classes, num_train + num_test)
    return Dataset(
        name="digits",
        x_train=x[:num_train],
        y_train=y[:num_train],
        x_test=x[num_train:],
        y_test=y[num_train:],
        num_classes=num_classes,
        image_shape=(num_inputs,),
        full_scale=255,
        mean=0.2,
        std=0.7,
    )


@contextlib.contextmanager
def threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(spec, data, path, epochs=2, replicas=None, num_threads=1):
    with threads(num_threads):
        training = Training.from_spec(spec, data, path=path, replicas=replicas)
        assert training.path_name == path
        metrics = [training.run_epoch() for _ in range(epochs)]
    return training, metrics


def assert_same(one, other, **tolerance):
    (training, metrics), (reference, expected) = one, other
    for name, layer in reference.weights.items():
        torch.testing.assert_close(training.weights[name].w, layer.w, **tolerance)
        torch.testing.assert_close(training.weights[name].b, layer.b, **tolerance)
    for found, wanted in zip(metrics, expected, strict=True):
        for key, value in vars(wanted).items():
            np.testing.assert_allclose(
                getattr(found, key), value, rtol=tolerance["rtol"], err_msg=key
            )


# around the whole vectors and tiles of every processor: 2 to 16 values, 1 to 12 rows
SIZES = [
    (64, [1], 2),
    (65, [17, 3], 5),
    (33, [16, 32, 48], 16),
    (100, [63, 65], 31),
    (7, [130], 129),
    (256, [256], 10),
]


@pytest.mark.parametrize(("num_inputs", "widths", "num_classes"), SIZES)
@pytest.mark.parametrize("batch_size", [1, 16, 50])
@pytest.mark.parametrize("order", ["independent", "shared"])
def test_awkward_sizes_equal_the_fast_path_which_equals_plain_torch(
    num_inputs, widths, num_classes, batch_size, order
):
    data = random_dataset(num_inputs, num_classes)
    training = {"batch_size": batch_size, "batch_order": order, "eps": 1e-3, "lr": 0.3}
    spec = make_spec("clipped_cross_entropy", **training)
    spec = spec.with_settings({"network.widths": widths})
    found, expected = (train(spec, data, path) for path in ("compiled", "fast"))
    assert_same(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("loss", ["cross_entropy", "clipped_cross_entropy"])
def test_outputs_far_apart_give_the_losses_of_torch(loss):
    data = random_dataset(40, 30)
    spec = make_spec(loss, eps=1e-12, lr=1e-9, replicas=2)
    spec = spec.with_settings(
        {"network.widths": [50], "initialization": {"name": "normal", "std": 9.0}}
    )
    found, expected = (train(spec, data, path) for path in ("compiled", "fast"))
    assert expected[1][-1].below_eps.min() > 10
    assert_same(found, expected, rtol=1e-9, atol=1e-11)


def test_float32_keeps_what_exact_arithmetic_keeps_as_well_as_torch_does():
    """Gradients of softmax sum to zero over the classes, and so do the moves they make.

    Terms added to a weight one by one, instead of their sum, drift by ten times more.
    """
    data = random_dataset(100, 10, num_train=1024)
    spec = make_spec("cross_entropy", batch_size=128, lr=0.1)
    spec = spec.with_settings({"run.dtype": "float32", "network.widths": [300]})

    def drift(path):
        training, _ = train(spec, data, path, epochs=4)
        output, initial = training.weights["output"], training.initial["output"]
        return (output.w.double() - initial.w.double()).sum(2).square().mean().sqrt()

    assert drift("compiled") < 1.5 * drift("fast") < 1e-6


@pytest.mark.parametrize(
    ("replicas", "num_threads"), [(3, 2), (5, 2), (5, 3), (2, 4), (1, 2)]
)
@pytest.mark.parametrize("order", ["independent", "shared"])
def test_bits_depend_neither_on_the_threads_nor_on_the_stack(
    replicas, num_threads, order
):
    data = digits()
    spec = make_spec("clipped_cross_entropy", replicas=5, batch_order=order)
    spec = spec.with_settings({"run.dtype": "float32"})
    numbers = list(range(replicas))
    alone = train(spec, data, "compiled", replicas=numbers)
    shared = train(spec, data, "compiled", replicas=numbers, num_threads=num_threads)
    assert_same(shared, alone, rtol=0, atol=0)
    whole, _ = train(spec, data, "compiled")
    for name, layer in alone[0].weights.items():
        torch.testing.assert_close(
            whole.weights[name].w[:replicas], layer.w, rtol=0, atol=0
        )


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("order", ["independent", "shared"])
def test_a_failing_replica_is_frozen_before_the_step_that_fails(num_threads, order):
    data = digits()
    spec = make_spec("clipped_cross_entropy", batch_order=order)

    def train_ill(path):
        with threads(num_threads):
            training = Training.from_spec(spec, data, path=path)
            training.advance(4)
            put(training, "hidden2.b", (1, 0), float("nan"))
            metrics = [training.run_epoch() for _ in range(2)]
        return training, metrics

    found, expected = train_ill("compiled"), train_ill("fast")
    np.testing.assert_array_equal(found[1][0].nonfinite_step, [-1, 4, -1])
    for training, _ in (found, expected):
        put(training, "hidden2.b", (1, 0), 0)
    assert_same(found, expected, rtol=1e-9, atol=1e-11)


def test_fewer_replicas_than_threads_take_the_path_that_a_trial_found_quicker():
    data = digits()
    spec = make_spec("clipped_cross_entropy", replicas=1)
    assert (
        Training.from_spec(spec, data).path_name == "compiled"
    )  # one thread in these tests
    with threads(2):
        training = Training.from_spec(spec, data)
        expected = train(spec, data, training.path_name, num_threads=2)
        found = training, [training.run_epoch() for _ in range(2)]
    assert_same(found, expected, rtol=0, atol=0)  # the trial left no trace


def test_what_lies_behind_the_weights_stays_zero():
    spec = make_spec("cross_entropy").with_settings({"network.widths": [13, 67]})
    training, _ = train(spec, digits(), "compiled")
    for name in training.weights:
        w = training._path.parameters[f"{name}.w"]
        rows = w.stride(1)
        behind = w.as_strided((*w.shape[:2], rows - w.shape[2]), w.stride(), w.shape[2])
        assert behind.numel() and not behind.any(), name


@given(
    num_rows=st.integers(1, 12),
    num_steps=st.integers(1, 30),
    num_workers=st.integers(1, 7),
)
def test_work_is_shared_out_evenly_and_no_replica_is_in_two_places_at_once(
    num_rows, num_steps, num_workers
):
    rows = [10 + row for row in range(num_rows)]
    workers = share_out(rows, num_steps, num_workers)
    made = {row: {} for row in rows}
    for tasks in workers:
        clock = 0
        for task in tasks:
            for step in range(task.first, task.stop):
                assert made[task.row].setdefault(step, clock) == clock
                clock += 1
    for steps in made.values():
        times = [steps[step] for step in range(num_steps)]  # each of them, once
        assert times == sorted(set(times))  # one after the other
    longest = max(sum(t.stop - t.first for t in tasks) for tasks in workers)
    assert longest == max(num_steps, -(-num_rows * num_steps // num_workers))
    assert len(workers) <= num_workers


def train_by(folder, compiler):
    """The path and the train losses, in a file: nothing was compiled here before."""
    os.environ |= {"CC": str(compiler), "XDG_CACHE_HOME": str(folder)}
    spec = make_spec("clipped_cross_entropy", eps=1e-3)
    training = Training.from_spec(spec, random_dataset(65, 21))
    losses = training.run_epoch().train_loss.tolist()
    (folder / "found.json").write_text(json.dumps([training.path_name, losses]))


def run_training(folder, compiler):
    process = start(train_by, folder, compiler)
    process.join()
    assert process.exitcode == 0
    return json.loads((folder / "found.json").read_text())


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """What a compiler that fails leaves, and where."""
    folder = tmp_path_factory.mktemp("without")
    return folder, *run_training(folder, shutil.which("false"))


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="flags of x86-64")
@pytest.mark.parametrize("flags", ["-mno-avx512f", "-mno-avx -mno-fma"])
def test_processors_with_shorter_vectors_compute_the_same(tmp_path, flags, without):
    compiler = tmp_path / "cc"
    compiler.write_text(f'#!/bin/sh\nexec {shutil.which("cc")} "$@" {flags}\n')
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    name, losses = run_training(tmp_path, compiler)
    assert name == "compiled"
    assert len(list(tmp_path.rglob("*.so"))) == 1
    *_, expected = without
    np.testing.assert_allclose(losses, expected, rtol=1e-10)


def test_a_compiler_that_fails_is_as_good_as_none(tmp_path, without):
    folder, *found = without
    assert found[0] == "fast" and not list(folder.rglob("*.so"))
    assert run_training(tmp_path, "no such compiler") == found


def test_what_c_cannot_train_takes_another_path():
    for settings in (
        {"training.optimizer": "adam"},
        {"training.momentum": 0.5},
        {"training.weight_decay": 0.1},
        {"training.loss": "mean_squared_error"},
        {"network.activation": "tanh"},
    ):
        assert not CompiledPath.fits(make_spec().with_settings(settings), "cpu")
    assert CompiledPath.fits(RunSpec(data={"name": "digits"}), "cpu")
    assert not CompiledPath.fits(RunSpec(data={"name": "digits"}), "cuda")


def test_products_of_bf16_are_those_of_rounded_numbers():
    """One step by hand: every operand of a product rounded to bfloat16, sums exact."""
    flags = Path("/proc/cpuinfo")
    if not (flags.exists() and "avx512_bf16" in flags.read_text(encoding="utf-8")):
        pytest.skip("this processor has no products of bfloat16")
    data = random_dataset(37, 11, num_train=13)
    spec = make_spec("cross_entropy", batch_size=13, lr=0.5, replicas=2)
    spec = spec.with_settings(
        {"run.dtype": "float32", "run.precision": "bf16", "network.widths": [21, 9]}
    )
    training = Training.from_spec(spec, data, path="compiled")
    training.advance(1)
    x_BI = (torch.tensor(data.x_train) / 255 - 0.2) / 0.7

    def rounded(tensor):
        return tensor.float().bfloat16().double()

    for replica in range(2):
        layers = [(layer.w[replica], layer.b[replica].double())
                  for _, layer in training.initial.items()]  # fmt: skip
        inputs = [x_BI.double()]
        for w_IO, b_O in layers:
            z_BO = rounded(inputs[-1]) @ rounded(w_IO) + b_O
            inputs.append(z_BO.relu())
        one_hot_BK = torch.nn.functional.one_hot(torch.tensor(data.y_train), 11)
        delta_BO = (torch.softmax(z_BO, 1) - one_hot_BK) * (-0.5 / 13)
        for number in (2, 1, 0):
            w_IO, a_BI = layers[number][0], inputs[number]
            found = list(training.weights.items())[number][1]
            moved = found.w[replica].double() - w_IO.double()
            expected = rounded(a_BI).T @ rounded(delta_BO)
            torch.testing.assert_close(moved, expected, rtol=2e-3, atol=2e-6)
            torch.testing.assert_close(
                found.b[replica].double(), delta_BO.sum(0), rtol=1e-4, atol=1e-7
            )
            delta_BO = (rounded(delta_BO) @ rounded(w_IO).T) * (a_BI > 0)
