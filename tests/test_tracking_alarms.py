"""Alarms of a tracker on walks whose jumps are made by hand."""

import logging

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
    assert [f.what for f in again._alarms.findings] == [
        f.what for f in tracker._alarms.findings
    ]
    assert len(again._alarms.findings) == 2


@pytest.mark.parametrize("measurements", [["correlation"], ["distance"]])
def test_other_measurements_than_the_usual_raise_no_error(measurements):
    walk(lambda *a: bm.Tracker(*a, schedule=1, measurements=measurements), 5)
