"""Tests near the start: line, ball and moved starts, against NumPy and plain torch."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import log_softmax

import by_hand
from birthmark.data import load_dataset
from birthmark_experiments.near_the_start import EXPERIMENT
from birthmark_experiments.near_the_start.points import (
    Ball,
    distances,
    draw_start,
    find_end,
    mix_points,
    move,
    project,
    put_back,
    shrink,
    train_from,
)
from birthmark_experiments.near_the_start.protocol import PROTOCOLS, spec_of


@pytest.fixture(scope="module")
def spec():
    return spec_of(PROTOCOLS["quick"]).with_settings({"training.epochs": 2})


@pytest.fixture(scope="module")
def dataset(spec):
    return load_dataset(spec.data)


def losses_by_hand(parameters, x, y) -> np.ndarray:
    log_p = log_softmax(by_hand.logits(x, parameters.values()), axis=-1)
    return -log_p[:, np.arange(len(y)), y].mean(axis=1)


@pytest.mark.parametrize("radius", [0.05, 1e9])
def test_training_in_a_ball_is_projected_gradient_descent(spec, dataset, radius):
    start = draw_start(spec, dataset)
    radius_R = np.full(3, radius)
    found = find_end(spec, dataset, start, Ball(start, radius_R))
    *_, (_, _, expected) = by_hand.descend(spec, dataset, start, 2, 2, radius=radius)
    for name, tensor in zip(start, expected, strict=True):
        assert_allclose(found[name][2], tensor, atol=2e-5)
    if radius < 1:
        assert_allclose(distances(found, start), radius, rtol=1e-4)


def test_inside_of_the_ball_nothing_is_moved():
    center = {"a.w": torch.zeros(2, 3, 4), "a.b": torch.zeros(2, 4)}
    inside = {name: torch.full_like(t, 0.1) for name, t in center.items()}
    before = {name: t.clone() for name, t in inside.items()}
    length = 0.1 * 16**0.5
    inside = project(inside, Ball(center, np.array([length * 1.01, length * 0.5])))
    for name, tensor in inside.items():
        assert torch.equal(tensor[0], before[name][0])
        torch.testing.assert_close(tensor[1], before[name][1] * 0.5)


def test_a_moved_start_lies_as_far_away_as_was_asked_in_each_tensor(spec, dataset):
    start = draw_start(spec, dataset)
    end = {name: tensor + 0.1 for name, tensor in start.items()}
    moved = move(start, end, 2.0, seed=0)
    for name, tensor in start.items():
        step = (moved[name] - tensor).flatten(1).norm(dim=1)
        way = (end[name] - tensor).flatten(1).norm(dim=1)
        torch.testing.assert_close(step, 2 * way)
    again = move(start, end, 2.0, seed=1)
    assert not torch.equal(moved["hidden1.w"], again["hidden1.w"])


@pytest.fixture(scope="module")
def again():
    """The quick scale's free training: spec, data, start and end."""
    spec = spec_of(PROTOCOLS["quick"])
    dataset = load_dataset(spec.data)
    start = draw_start(spec, dataset)
    return spec, dataset, start, find_end(spec, dataset, start)


def test_losses_on_the_line_and_at_the_start_are_those_of_numpy(results, again):
    _, dataset, start, end = again
    x, y = dataset.x_train / dataset.full_scale, dataset.y_train
    line, reset = results["line_train_loss"], results["reset_train_loss"]
    for alpha in (-0.5, 0.5, 2.0):
        point = {n: start[n] + alpha * (end[n] - start[n]) for n in start}
        assert_allclose(line.sel(alpha=alpha), losses_by_hand(point, x, y), rtol=1e-4)
    assert_allclose(reset.sel(reset="all"), losses_by_hand(start, x, y), 1e-5)
    mixed = {n: (start if n.startswith("hidden2") else end)[n] for n in start}
    assert_allclose(reset.sel(reset="hidden2"), losses_by_hand(mixed, x, y), 1e-4)


def test_the_whole_ball_is_free_training_and_no_move_none(results):
    free = results["moved_end_train_loss"].sel(move=0)
    assert_allclose(results["ball_train_loss"].sel(radius=1.0), free, 0.05)
    assert_allclose(results["line_train_loss"].sel(alpha=1.0), free, 1e-5)
    assert_allclose(
        results["moved_way"].sel(move=0), results["moved_from_start"].sel(move=0)
    )


def test_test_losses_accuracies_and_ways_are_those_of_training_again(results, again):
    spec, dataset, start, end = again
    x, y = dataset.x_test / dataset.full_scale, dataset.y_test
    moved = move(start, end, 1.0, spec.run.seed)
    tip = find_end(spec, dataset, moved)
    small = find_end(spec, dataset, start, Ball(start, 0.3 * distances(end, start)))
    one = results.sel(move=1.0, radius=0.3)
    for name, point in (("moved", moved), ("moved_end", tip), ("ball", small)):
        expected = losses_by_hand(point, x, y)
        assert_allclose(one[f"{name}_test_loss"], expected, rtol=1e-4)
    assert_allclose(one["moved_way"], distances(tip, moved), rtol=1e-5)
    assert_allclose(one["moved_from_start"], distances(tip, start), rtol=1e-5)
    right = (by_hand.logits(x, tip.values()).argmax(axis=-1) == y).mean(axis=1)
    assert_allclose(one["moved_end_test_accuracy"], right, atol=0.003)


def test_results_are_summarized_and_drawn(results, facts):
    assert set(facts["ball"]["table"]) == {0.3, 1.0}
    assert EXPERIMENT.draw(results).draw().axes


# points in weight space


def test_a_shrunk_start_keeps_the_length_and_takes_the_direction():
    rng = np.random.default_rng(5)
    shapes = {"a.w": (2, 3, 4), "a.b": (2, 4)}
    start, moved = (
        {n: torch.tensor(rng.normal(size=s)) for n, s in shapes.items()}
        for _ in range(2)
    )
    start["a.b"] = torch.zeros(2, 4, dtype=torch.double)
    found = shrink(moved, start)
    for row in range(2):
        before, after = moved["a.w"][row].numpy(), found["a.w"][row].numpy()
        length = np.linalg.norm(start["a.w"][row].numpy())
        assert_allclose(after, before / np.linalg.norm(before) * length)
    assert not found["a.b"].any()


def test_layers_are_put_back_one_by_one_and_all_together():
    start = {f"{layer}.{part}": torch.zeros(1) for layer in "xy" for part in "wb"}
    now = {name: torch.ones(1) for name in start}
    found = put_back(now, start, ["x", "y"])
    assert list(found) == ["none", "x", "y", "all"]
    sums = {name: sum(int(t) for t in one.values()) for name, one in found.items()}
    assert sums == {"none": 4, "x": 2, "y": 2, "all": 0}
    assert not found["x"]["x.w"]
    assert mix_points(start, now, -0.5)["x.w"].item() == -0.5


def test_a_ball_may_be_looked_at_after_several_steps_and_holds_at_each_epoch(
    spec, dataset
):
    start = draw_start(spec, dataset)
    ball = Ball(start, np.full(3, 0.05), every=4)
    epochs = 0
    for metrics, parameters in train_from(spec, dataset, start, ball=ball):
        epochs += 1
        assert metrics.epoch == epochs
        assert_allclose(distances(parameters, start), 0.05, rtol=1e-4)
    assert epochs == spec.training.epochs
    each = find_end(spec, dataset, start, Ball(start, np.full(3, 0.05)))
    assert distances(parameters, each).max() > 1e-5
