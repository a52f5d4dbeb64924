"""Captured steps, as a GPU replays them: queued one by one where there is no GPU."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from birthmark.network import draw_weights
from birthmark.seeds import batch_order, order_draws
from birthmark.training import Training, choose_path, train_together
from birthmark.training.accumulators import Accumulators
from birthmark.training.graphed.captured import CapturedSteps, Program
from birthmark.training.graphed.fused_losses import FUSED_LOSSES, Places
from birthmark.training.graphed.layers import PaddedLayer
from birthmark.training.graphed.streams import DeviceStream
from doors import put
from test_training_equality import (
    ACTIVATIONS,
    LOSSES,
    assert_equal_to_plain,
    digits,
    make_spec,
    plain_modules,
    train_plainly,
    train_with_engine,
)

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "bench_gpu.py"


def assert_same(one, other, rtol=0.0, atol=0.0):
    for name, expected in other.weights.items():
        found = one.weights[name]
        torch.testing.assert_close(found.w, expected.w, rtol=rtol, atol=atol)
        torch.testing.assert_close(found.b, expected.b, rtol=rtol, atol=atol)


def assert_same_metrics(found, expected, rtol=0.0):
    for key, value in dataclasses.asdict(expected).items():
        np.testing.assert_allclose(getattr(found, key), value, rtol=rtol, err_msg=key)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_laps_equal_separate_plain_trainings(loss, activation):
    data, spec = digits(), make_spec(loss, activation)
    modules = plain_modules(spec, Training.from_spec(spec, data).initial)
    training = train_with_engine(spec, data, steps=60, path="graphed")
    for replica, module in enumerate(modules):
        train_plainly(spec, module, replica, data, steps=60)
    assert_equal_to_plain(training.weights, modules)
    moved = training.weights["hidden1"].w - training.initial["hidden1"].w
    assert moved.abs().max() > 1e-2


@pytest.mark.parametrize(
    ("widths", "batch_size", "num_train"),
    [([1], 90, 90), ([7, 8, 9], 1, 20), ([16, 3], 40, 90), ([5, 5], 100, 90)],
)
def test_awkward_sizes_equal_plain_trainings_with_shared_orders(
    widths, batch_size, num_train
):
    data = digits(num_train)
    spec = make_spec("clipped_cross_entropy", batch_order="shared", replicas=2)
    spec = spec.with_settings(
        {"network.widths": widths, "training.batch_size": batch_size}
    )
    found = train_with_engine(spec, data, steps=25, path="graphed")
    expected = train_with_engine(spec, data, steps=25, path="fast")
    assert_same(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_metrics_equal_those_of_the_fast_path(loss):
    data, spec = digits(), make_spec(loss)
    data = dataclasses.replace(data, mean=0.3, std=0.4)
    found, expected = (
        Training.from_spec(spec, data, path=p) for p in ("graphed", "fast")
    )
    for _ in range(3):
        assert_same_metrics(found.run_epoch(), expected.run_epoch(), rtol=1e-10)
    assert_same(found, expected, rtol=1e-10, atol=1e-12)


def test_equal_outputs_count_as_the_first_class_only():
    data, spec = digits(), make_spec(batch_size=90)  # an epoch is one step
    spec = spec.with_settings({"initialization.name": "zeros"})
    accuracy = Training.from_spec(spec, data, path="graphed").run_epoch().train_accuracy
    np.testing.assert_allclose(accuracy, (data.y_train == 0).mean())


@pytest.mark.parametrize("loss", LOSSES)
def test_bits_do_not_depend_on_how_steps_fall_into_laps(loss):
    data, spec = digits(), make_spec(loss)  # float64: sums of its losses are rounded
    whole, single = (Training.from_spec(spec, data, path="graphed") for _ in range(2))
    expected = [whole.run_epoch() for _ in range(3)][-1]
    found, length = None, 1
    while single.epoch < 3:
        found = single.advance(length) or found
        length = length % 4 + 1
    assert_same(single, whole)
    assert_same_metrics(found, expected)


@pytest.mark.parametrize("stop", [3, 6, 8])
def test_a_stopped_training_goes_on_with_the_same_bits(stop):
    data = digits()
    spec = make_spec("clipped_cross_entropy").with_settings({"run.dtype": "float32"})
    whole, first, second = (
        Training.from_spec(spec, data, path="graphed") for _ in range(3)
    )
    expected = [whole.run_epoch() for _ in range(3)][-1]
    while first.step < stop:
        first.advance(stop - first.step)
    second.load_state_dict(*first.state_dict())
    while second.epoch < 3:
        found = second.run_epoch()
    assert_same(second, whole)
    assert_same_metrics(found, expected)


@pytest.mark.parametrize(
    ("z", "eps"),
    [
        ([[17.0, 0.0], [16.0, 0.0], [-16.2, 0.0], [-16.0, 0.0]], 1e-7),
        ([[0.0, 0.0, 0.0, 0.0]], 0.25),  # just on the edge, which is inside
    ],
)
def test_the_edges_of_the_clip_are_those_of_torch_in_float32(z, eps):
    leaf = torch.tensor(z, requires_grad=True)
    p = torch.softmax(leaf, 1)[:, 0]
    (-torch.log(p.clamp(eps, 1 - eps))).sum().backward()
    z_RBK = leaf.detach()[None]
    score_RB, p_true_RB = torch.empty(2, 1, len(z))
    delta_RBK = torch.empty_like(z_RBK)
    FUSED_LOSSES["clipped_cross_entropy"](z_RBK, len(z[0]), eps).differentiate(
        z_RBK,
        torch.zeros(1, len(z), dtype=torch.int64),
        torch.tensor(1.0),
        Places(score_RB, p_true_RB, delta_RBK),
    )
    torch.testing.assert_close(delta_RBK[0], leaf.grad)
    assert (leaf.grad == 0).all(dim=1).sum() == len(z) // 2


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("layer", "value"), [("hidden1", "nan"), ("hidden2", "nan"), ("output", "inf")]
)
def test_a_failed_replica_stays_and_leaves_its_neighbours_alone(
    activation, layer, value
):
    data, spec = digits(), make_spec("clipped_cross_entropy", activation)
    healthy, ill = (Training.from_spec(spec, data, path="graphed") for _ in range(2))
    for training in (healthy, ill):
        training.advance(4)
    put(ill, f"{layer}.b", (1, 0), float(value))
    kept = ill.weights.clone()
    for training in (healthy, ill):
        metrics = [training.run_epoch() for _ in range(2)]
    np.testing.assert_array_equal(metrics[-1].nonfinite_step, [-1, 4, -1])
    assert np.isnan(metrics[-1].train_loss).tolist() == [False, True, False]
    assert metrics[-1].below_eps[1] == 0
    for name, other in healthy.weights.items():
        found = ill.weights[name]
        torch.testing.assert_close(
            found.w[1], kept[name].w[1], rtol=0, atol=0, equal_nan=True
        )
        torch.testing.assert_close(
            found.b[1], kept[name].b[1], rtol=0, atol=0, equal_nan=True
        )
        torch.testing.assert_close(found.w[::2], other.w[::2], rtol=0, atol=0)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_rate_that_explodes_freezes_all_where_the_fast_path_does(loss):
    data, spec = digits(), make_spec(loss, lr=1e30)
    spec = spec.with_settings({"run.dtype": "float32"})
    found, expected = (
        Training.from_spec(spec, data, path=p) for p in ("graphed", "fast")
    )
    for _ in range(2):
        metrics, others = found.run_epoch(), expected.run_epoch()
    np.testing.assert_array_equal(metrics.nonfinite_step, others.nonfinite_step)
    assert (metrics.nonfinite_step >= 0).all() or loss == "clipped_cross_entropy"


def test_a_replica_frozen_later_in_a_lap_has_made_the_steps_before():
    data, spec = digits(), make_spec("mean_squared_error", lr=1e3)
    found, expected = (
        Training.from_spec(spec, data, path=p) for p in ("graphed", "fast")
    )
    for _ in range(12):
        metrics, others = found.run_epoch(), expected.run_epoch()
    steps = metrics.nonfinite_step
    np.testing.assert_array_equal(steps, others.nonfinite_step)
    assert (steps % 6 > 0).any()
    assert_same(found, expected, rtol=1e-6)


def test_a_replica_frozen_at_the_end_of_an_epoch_trains_no_more():
    data, spec = digits(), make_spec("clipped_cross_entropy")
    found, expected = (
        Training.from_spec(spec, data, path=p) for p in ("graphed", "fast")
    )
    for training in (found, expected):
        put(training, "hidden1.b", (1, 0), float("-inf"))  # relu: a unit less
        training.run_epoch()
    kept = found.weights["output"].w.clone()
    metrics, others = found.run_epoch(), expected.run_epoch()
    assert metrics.nonfinite_step.tolist() == [-1, 6, -1]
    assert_same_metrics(metrics, others, rtol=1e-10)
    moved = (found.weights["output"].w != kept).any(dim=2).any(dim=1)
    assert moved.tolist() == [True, False, True]


def test_a_state_from_before_the_failure_trains_again():
    data, spec = digits(), make_spec("clipped_cross_entropy")
    whole, other = (Training.from_spec(spec, data, path="graphed") for _ in range(2))
    expected = [whole.run_epoch() for _ in range(2)][-1]
    state = other.state_dict()
    put(other, "hidden1.b", (0, 0), float("nan"))
    other.run_epoch()
    other.load_state_dict(*state)
    found = [other.run_epoch() for _ in range(2)][-1]
    assert_same(other, whole)
    assert_same_metrics(found, expected)


def test_a_gpu_takes_laps_for_plain_sgd_and_nothing_else():
    spec = make_spec()
    weights = draw_weights(spec, 64, 10, replicas=range(3))
    assert choose_path(spec, weights, "cuda").name == "graphed"
    assert choose_path(spec, weights, "cuda:1").name == "graphed"
    assert choose_path(spec, weights, "cuda", "fast").name == "fast"
    assert choose_path(spec, weights, "cuda", num_parts=2).name == "fast"
    assert choose_path(spec, weights, "cpu").name != "graphed"
    momentum = make_spec(momentum=0.9)
    assert choose_path(momentum, weights, "cuda").name == "general"
    assert choose_path(momentum, weights, "cuda", "graphed").name == "general"


def test_together_each_trains_as_it_does_alone():
    data = digits()
    specs = [
        make_spec("clipped_cross_entropy", epochs=epochs).with_settings(
            {"network.widths": [width]}
        )
        for width, epochs in ((5, 2), (9, 3))
    ]
    trainings = [Training.from_spec(spec, data, path="graphed") for spec in specs]
    seen = [
        (trainings.index(training), metrics.epoch)
        for training, metrics in train_together(trainings)
    ]
    assert sorted(seen) == [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3)]
    assert [epoch for number, epoch in seen if number == 1] == [1, 2, 3]
    for training, spec in zip(trainings, specs, strict=True):
        alone = train_with_engine(spec, data, steps=training.step, path="graphed")
        assert_same(training, alone)


@pytest.mark.parametrize("num_examples", [1, 90, 70_000])
def test_an_order_sorted_by_torch_is_the_one_sorted_by_numpy(num_examples):
    draws = order_draws(5, 2, 7, num_examples)
    found = torch.from_numpy(draws).argsort(stable=True)
    np.testing.assert_array_equal(found, batch_order(5, 2, 7, num_examples))


def test_no_two_living_stacks_share_a_lane():
    class Owner:
        pass

    one, other = Owner(), Owner()
    first, second = (DeviceStream.taken_by(owner, "cpu") for owner in (one, other))
    assert first is not second
    del one
    third = Owner()
    assert DeviceStream.taken_by(third, "cpu") is first


@dataclasses.dataclass
class Pixels:
    pixels_NI: torch.Tensor
    classes_N: torch.Tensor
    full_scale: int = 16
    mean: float = 0.5
    std: float = 2.0


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_lap_never_looks_at_a_value_nor_leaves_its_device(loss, activation):
    """On a device without values, whoever looks at one fails; so does a mixture."""
    fused_loss = FUSED_LOSSES[loss]
    num_columns = 16 if fused_loss.pads_outputs else 10
    with torch.device("meta"):
        layers = [
            PaddedLayer(torch.empty(3, 72, 16), 64, 12),
            PaddedLayer(torch.empty(3, 16, num_columns), 12, 10),
        ]
        pixels_NI = torch.empty(90, 64, dtype=torch.uint8)
        examples = Pixels(pixels_NI, torch.empty(90, dtype=torch.int64))
        order_RN = torch.empty(3, 90, dtype=torch.int64)
        rate_S = torch.empty(4)
    accumulators = Accumulators.zeros(3, "meta")
    program = Program(layers, activation, fused_loss, 0.1, examples, accumulators)
    steps = CapturedSteps(
        program, DeviceStream("cpu"), num_steps=4, batch_size=16, num_orders=3
    )
    steps.load(order_RN, 0, rate_S, first_step=0)
    steps.run(4)
    with pytest.raises(RuntimeError, match="meta"):  # as captured steps would
        bool(accumulators.loss_R.isfinite().all())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: it would work")
def test_the_benchmark_of_a_gpu_says_that_there_is_none(tmp_path):
    out = tmp_path / "gpu.md"
    finished = subprocess.run(
        [sys.executable, BENCHMARK, "--out", out], capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    assert "no GPU" in finished.stdout
    assert not out.exists()
