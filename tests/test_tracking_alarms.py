"""Alarms of a tracker on walks whose jumps are made by hand."""

import logging

import numpy as np
import pytest
import torch

import birthmark as bm


def walk(tracker_of, steps, jump_at=None, seed=0):
    """A weight that drifts and wavers; its jump is as large as the way before."""
    draw = torch.Generator().manual_seed(seed)
    model = torch.nn.Linear(100, 10, bias=False)
    torch.nn.init.normal_(model.weight, generator=draw)
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    tracker = tracker_of(model, optimizer)
    for step in range(1, steps + 1):
        move = 0.02 * torch.randn(10, 100, generator=draw)
        if step == jump_at:
            move *= 30
        model.weight.grad = -move
        optimizer.step()
        loss = 1 / step**0.5 * (8 if jump_at and step >= jump_at else 1)
        tracker.log(loss=loss * float(torch.exp(0.02 * move[0, 0])))
    return tracker


def raised(tracker):
    return [finding.name for finding in tracker.findings()]


def test_a_steady_walk_raises_nothing(caplog):
    with caplog.at_level(logging.WARNING, logger="birthmark"):
        tracker = walk(lambda *a: bm.Tracker(*a, schedule=1), 200)
    assert raised(tracker) == []
    assert caplog.text == ""


def test_a_jump_is_logged_told_and_kept_in_the_summary(caplog):
    told = []

    class Sink:
        def begin(self, run): ...
        def scalars(self, step, values): ...
        def arrays(self, step, measured): ...
        def finish(self): ...
        def alert(self, step, finding):
            told.append((step, finding.name))

    with caplog.at_level(logging.WARNING, logger="birthmark"):
        tracker = walk(lambda *a: bm.Tracker(*a, schedule=1, sinks=[Sink()]), 200, 150)
    assert set(raised(tracker)) == {"deviation_jump", "loss_jump"}
    assert all(150 <= step <= 153 for step, _ in told)
    assert "the deviation has jumped at step" in caplog.text
    assert "has jumped" in str(tracker.summary())


def losses(values, schedule=1):
    """A tracker that is told of these losses, and what a function was told."""
    model, told = torch.nn.Linear(3, 2), []
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    tell = lambda step, finding: told.append((step, finding.name))  # noqa: E731
    tracker = bm.Tracker(model, optimizer, schedule=schedule, sinks=[tell])
    for value in values:
        model.weight.grad = torch.ones(2, 3)
        model.bias.grad = torch.ones(2)
        optimizer.step()
        tracker.log(loss=value)
    tracker.finish()
    return raised(tracker), told


LEARNED = [2.3, 2.2, 2.1, 1.9, 1.8, 1.6, 1.5, 1.4, 1.2, 1.0, 1.1, 0.9]


def test_a_loss_worse_than_before_training_is_told_to_a_function():
    found, told = losses([*LEARNED, 6.6, 6.7, 6.5, 6.6])
    assert "divergence" in found
    # the third record in a row; a record takes the losses before it
    assert (16, "divergence") in told
    back_at_once, _ = losses([*LEARNED, 6.6, 6.7, 1.0, 0.9])
    as_at_first, _ = losses([*LEARNED, 2.3, 2.2, 2.3, 2.3])
    assert "divergence" not in (*back_at_once, *as_at_first)


@pytest.mark.parametrize("scatter", [0.01, 0.5])
def test_a_network_that_learns_nothing_does_not_diverge(scatter):
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(0, scatter, 300)
        found, _ = losses((2.3 * np.exp(noise)).tolist(), schedule=5)
        assert "divergence" not in found


def test_a_loss_that_is_no_number_is_told_once():
    found, told = losses([2.3, 1.5, float("nan"), float("nan"), 1.0, 1.0])
    assert found.count("loss_nonfinite") == 1
    assert [name for _, name in told].count("loss_nonfinite") == 1


def test_units_that_no_gradient_reaches_are_counted():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2)
    )
    with torch.no_grad():
        model[0].bias[:2] = -100  # off on all examples
        model[0].bias[2:] = 1
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    tracker = bm.Tracker(model, optimizer, schedule=1)
    for step in range(1, 13):
        optimizer.zero_grad()
        model(torch.randn(32, 4)).square().mean().backward()
        optimizer.step()
        if step == 2:
            model[0].bias.data[2] = -100  # one more dies
        if step in (7, 9):
            assert "units_silent" in raised(tracker) or step == 7
            assert "units_died" not in raised(tracker)
    found = {one.name: one for one in tracker.findings()}
    silent, died = found["units_silent"], found["units_died"]
    assert (silent.level, died.level) == ("note", "note")
    assert "any recorded step: 2 of 6 in 0.weight" in silent.what
    assert "1 of 6 in 0.weight" in died.what
    model[0].bias.data[:5] = -100
    for _ in range(8):
        optimizer.zero_grad()
        model(torch.randn(32, 4)).square().mean().backward()
        optimizer.step()
    (died,) = [one for one in tracker.findings() if one.name == "units_died"]
    assert died.level == "note"  # three of six died, two never lived


def test_a_unit_that_is_active_in_one_batch_of_four_is_not_dead():
    model = torch.nn.Sequential(
        torch.nn.Linear(1, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1)
    )
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        model[0].bias.zero_()
    optimizer, told = torch.optim.SGD(model.parameters(), 1e-3), []
    tell = lambda step, finding: told.append(finding.name)  # noqa: E731
    tracker = bm.Tracker(model, optimizer, schedule=1, sinks=[tell])
    draw = torch.Generator().manual_seed(0)
    for _ in range(200):
        x = 2 * (torch.rand(1, 1, generator=draw) < 0.25).float() - 1
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()
    assert "units_died" not in (*told, *raised(tracker))


def test_a_start_that_is_forgotten_is_said_once():
    tracker = walk(lambda *a: bm.Tracker(*a, schedule=1), 200)
    with torch.no_grad():
        weight = tracker.records  # recorded so far
    assert float(weight.correlation.isel(step=-1)[0, 0]) > 0.9
    model = torch.nn.Linear(100, 10, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    tracker = bm.Tracker(model, optimizer, schedule=1)
    for step in range(6):
        fresh = torch.randn(10, 100, generator=torch.Generator().manual_seed(step))
        model.weight.grad = model.weight.detach() - fresh if step == 3 else fresh * 0
        optimizer.step()
    (forgotten,) = [f for f in tracker.findings() if f.name == "forgotten"]
    assert forgotten.where == ("weight",)


def test_alarms_go_through_a_resume(tmp_path):
    settings = {"schedule": 1, "store": tmp_path, "name": "walk"}
    tracker = walk(lambda *a: bm.Tracker(*a, **settings), 200, 150)
    state = tracker.state_dict()
    tracker.close()
    model = torch.nn.Linear(100, 10, bias=False)
    again = bm.Tracker(model, torch.optim.SGD(model.parameters(), 1.0), **settings)
    again.load_state_dict(state)
    assert [f.what for f in again._telling.alarms.findings] == [
        f.what for f in tracker._telling.alarms.findings
    ]
    assert len(again._telling.alarms.findings) == 2


@pytest.mark.parametrize("measurements", [["correlation"], ["distance"]])
def test_other_measurements_than_the_usual_raise_no_error(measurements):
    walk(lambda *a: bm.Tracker(*a, schedule=1, measurements=measurements), 5)
