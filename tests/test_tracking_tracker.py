"""The tracker in a loop of one's own: numbers, resume, what stands still and why."""

import copy
import logging
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from torch.nn.functional import cross_entropy

import birthmark as bm
from birthmark.errors import BirthmarkError, SpecError, StoreError, WeightsError
from tracked_loop import SAVED, SCHEDULE, make_model, train


def data(step):
    draws = torch.Generator().manual_seed(step)
    x = torch.randn(16, 12, generator=draws)
    return x, torch.randint(5, (16,), generator=draws)


def make_steps(model, optimizer, count, first=0):
    for step in range(first, first + count):
        x, y = data(step)
        optimizer.zero_grad()
        cross_entropy(model(x.to(next(model.parameters()).dtype)), y).backward()
        optimizer.step()


def sgd(model, lr=0.1):
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def what(tracker):
    return {(finding.name, finding.where) for finding in tracker.findings()}


def test_distances_are_those_of_plain_float64_at_each_recorded_step():
    model = make_model()
    optimizer = sgd(model)
    tracker = bm.Tracker(model, optimizer, schedule=[1, 5, 12])
    states = {0: {n: p.detach().double() for n, p in model.named_parameters()}}
    states[0] = {n: p.clone() for n, p in states[0].items()}
    for step in range(12):
        make_steps(model, optimizer, 1, step)
        now = {n: p.detach().double().clone() for n, p in model.named_parameters()}
        states[step + 1] = now
    records = tracker.records.isel(replica=0)
    assert records.step.values.tolist() == [0, 1, 5, 12]
    for name, w0 in states[0].items():
        moved = [0.0]
        for before, after in ((0, 1), (1, 5), (5, 12)):
            w = states[after][name]
            moved.append(moved[-1] + float((w - states[before][name]).norm()))
            at = records.sel(step=after, parameter=name)
            assert at.distance.item() == pytest.approx(
                float((w - w0).norm()), rel=1e-12
            )
            assert at.path_length.item() == pytest.approx(moved[-1], rel=1e-12)
            if w0.std() > 0:
                together = torch.stack([w0.flatten(), w.flatten()])
                expected = float(torch.corrcoef(together)[0, 1])
                assert at.correlation.item() == pytest.approx(expected, rel=1e-10)


def test_training_is_the_same_bit_for_bit_with_a_tracker():
    def trained(tracked):
        model = make_model()
        optimizer = sgd(model)
        if tracked:
            tracker = bm.Tracker(model, optimizer, schedule=1)
        torch.manual_seed(7)
        make_steps(model, optimizer, 5)
        if tracked:
            tracker.summary()
        return [*model.state_dict().values(), torch.rand(3)]

    for x, y in zip(trained(True), trained(False), strict=True):
        assert torch.equal(x, y)


def test_killed_and_resumed_has_the_records_of_never_stopped(tmp_path: Path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    expected = train(tmp_path / "whole").records
    program = Path(__file__).parent / "tracked_loop.py"
    done = subprocess.run([sys.executable, program, tmp_path / "killed"], check=False)
    assert done.returncode == -signal.SIGKILL
    start = next((tmp_path / "killed" / "runs").glob("*/start.safetensors"))
    before = start.read_bytes()
    found = train(tmp_path / "killed", resume=True).records
    xr.testing.assert_identical(found, expected)
    assert found.distance.dropna("step").step.values.tolist() == [0, *SCHEDULE]
    assert found.epoch.values[:40].tolist() == [step // 10 for step in range(40)]
    assert found.loss.sel(step=[SAVED - 1, SAVED, SAVED + 1]).notnull().all()
    assert start.read_bytes() == before


def test_a_training_that_was_finished_is_made_longer(tmp_path: Path):
    """As one that was never finished before, from the checkpoint before its end."""
    model = make_model()
    optimizer = sgd(model)
    tracker = bm.Tracker(model, optimizer, store=tmp_path, name="mine")
    make_steps(model, optimizer, 5)
    states = [x.state_dict() for x in (model, optimizer, tracker)]
    states = copy.deepcopy(states)
    make_steps(model, optimizer, 4, 5)
    tracker.finish()
    end = tracker.records
    longer = bm.Tracker(model, optimizer, store=tmp_path, name="mine")
    for one, state in zip((model, optimizer, longer), states, strict=True):
        one.load_state_dict(state)
    make_steps(model, optimizer, 12, 5)
    longer.finish()
    longer.finish()  # once more changes nothing, and its state is still to be had
    assert longer.state_dict()["step"] == 17
    recorded = end.distance.dropna("step").step.values
    again = longer.records.distance.dropna("step").step.values
    assert set(recorded[recorded <= 8]) < set(again) and again[-1] > 9
    same = end.step.values[end.step.values <= 8]
    xr.testing.assert_equal(longer.records.sel(step=same), end.sel(step=same))


def test_a_resume_without_its_state_is_refused_with_what_to_do(tmp_path: Path):
    model = make_model()
    optimizer = sgd(model)
    tracker = bm.Tracker(model, optimizer, store=tmp_path, name="mine")
    make_steps(model, optimizer, 3)
    state = tracker.state_dict()
    tracker.close()
    again = bm.Tracker(model, optimizer, store=tmp_path, name="mine")
    with pytest.raises(StoreError, match="load_state_dict.*replica="):
        make_steps(model, optimizer, 1)
    again.load_state_dict(state)
    make_steps(model, optimizer, 1, 3)
    assert again.records.step.values.tolist() == [0, 1, 2, 4]
    again.close()
    for other in ({"replica": 1}, {"name": "other"}, {"fields": {"lr": 1}}):
        named = {"name": "mine", **other}
        new = bm.Tracker(model, optimizer, store=tmp_path, **named)
        new.begin()
        assert new.run_key != again.run_key
        new.close()


def test_a_start_that_is_not_the_true_one_is_never_gone_on_with(tmp_path: Path):
    model = make_model()
    optimizer = sgd(model)
    tracker = bm.Tracker(model, optimizer, store=tmp_path, name="mine")
    make_steps(model, optimizer, 2)
    state = tracker.state_dict()
    tracker.close()
    wider = nn.Sequential(nn.Linear(12, 30), nn.ReLU(), nn.LayerNorm(30))
    with pytest.raises(WeightsError, match="differs from the model in 0"):
        bm.Tracker(wider, sgd(wider), store=tmp_path).load_state_dict(state)
    with pytest.raises(StoreError, match="say the store"):
        other = bm.Tracker(model, store=tmp_path / "other")
        other.load_state_dict(state)
    path = next(tmp_path.glob("*/start.safetensors"))
    content = bytearray(path.read_bytes())
    content[-3] ^= 64
    path.write_bytes(content)
    held = []  # as a notebook does; who failed has let go of the run all the same
    for keep in ("device", "file"):
        with pytest.raises(BirthmarkError, match="start") as failed:
            bm.Tracker(model, store=tmp_path, keep=keep).load_state_dict(state)
        held.append(failed.value)


def test_a_run_that_is_done_stays_and_one_that_is_not_begins_again(tmp_path, caplog):
    for _ in range(2):
        model = make_model()
        optimizer = sgd(model)
        tracker = bm.Tracker(model, optimizer, store=tmp_path, name="mine")
        with caplog.at_level(logging.WARNING, "birthmark"):
            make_steps(model, optimizer, 2)
        tracker.close()
    assert "begins again from step 0" in caplog.text
    model = make_model()
    with bm.Tracker(model, sgd(model), store=tmp_path, name="mine") as tracker:
        tracker.begin()
    model = make_model()
    with pytest.raises(StoreError, match="is done"):
        bm.Tracker(model, sgd(model), store=tmp_path, name="mine").begin()


def test_what_cannot_be_written_at_exit_is_one_line_of_the_log(tmp_path: Path):
    """Its folder was deleted meanwhile, and its claim with it."""
    program = (
        "import shutil, sys, torch, birthmark as bm\n"
        "model = torch.nn.Linear(2, 2)\n"
        "optimizer = torch.optim.SGD(model.parameters(), 0.1)\n"
        "tracker = bm.Tracker(model, optimizer, store=sys.argv[1])\n"
        "model(torch.ones(1, 2)).sum().backward()\n"
        "optimizer.step()\n"
        "shutil.rmtree(sys.argv[1])\n"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "runs")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("what was recorded last is not written: ")


def test_who_cannot_write_at_its_close_lets_go_of_the_run(tmp_path: Path):
    resource = pytest.importorskip("resource")  # Windows has none
    model = make_model()
    optimizer = sgd(model)
    tracker = bm.Tracker(model, optimizer, store=tmp_path, name="mine")
    make_steps(model, optimizer, 3)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # as on a full disk
    try:
        with pytest.raises(StoreError, match="cannot write"):
            tracker.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert tracker.num_steps == 3  # it lives, and holds nothing
    again = bm.Tracker(make_model(), store=tmp_path, name="mine")
    again.begin()
    again.close()


@pytest.mark.parametrize("keep", ["cpu", "file"])
def test_wherever_the_start_is_kept_the_numbers_are_the_same(tmp_path: Path, keep):
    found = []
    for number, way in enumerate(("device", keep)):
        model = make_model().bfloat16()
        optimizer = sgd(model)
        store = tmp_path / str(number)
        tracker = bm.Tracker(model, optimizer, store=store, keep=way, schedule=2)
        make_steps(model, optimizer, 3)
        state = tracker.state_dict()
        tracker.close()
        again = bm.Tracker(model, optimizer, store=store, keep=way, schedule=2)
        again.load_state_dict(state)
        make_steps(model, optimizer, 3, 3)
        found.append(again.records.drop_attrs())
        again.close()
    xr.testing.assert_identical(*found)
    assert found[0].step.values.tolist() == [0, 1, 2, 4, 6]


def test_a_sampled_start_is_within_its_stated_error():
    model = nn.Sequential(nn.Linear(300, 400), nn.Linear(400, 5))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    whole = bm.Tracker(model, optimizer, schedule=1)
    sampled = bm.Tracker(model, optimizer, schedule=1, keep="sample", places=4000)
    for step in range(6):
        optimizer.zero_grad()
        x = torch.randn(16, 300, generator=torch.Generator().manual_seed(step))
        model(x).square().mean().backward()
        optimizer.step()
    expected, found = whole.records.isel(replica=0), sampled.records.isel(replica=0)
    assert found.sampled.values.tolist() == [4000, 400, 2000, 5]
    late = found.sel(step=6)
    error = late.distance_error.values
    assert error[1:].tolist() == [0, 0, 0]
    assert 0 < error[0] < 0.02
    off = late.distance / expected.sel(step=6).distance - 1
    assert abs(off[0].item()) < 4 * error[0]
    assert (off[1:] == 0).all()
    path = found.path_length / expected.path_length - 1
    assert float(abs(path.sel(step=6)).max()) < 0.05
    held = sampled._run.start.tensors()
    assert sum(value.numel() for value in held.values()) == 6405


def test_only_steps_that_were_really_made_are_counted():
    model = make_model()
    optimizer = sgd(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    tracker = bm.Tracker(model, optimizer, schedule=1)
    for step in range(4):
        optimizer.zero_grad()
        x, y = data(step)
        loss = cross_entropy(model(x), y)
        scaler.scale(loss * (float("inf") if step == 2 else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
    assert tracker.num_steps == 3
    assert tracker.records.step.values.tolist() == [0, 1, 2, 3]


def test_what_stands_still_is_named_with_the_reason():
    model = nn.ModuleDict(
        {
            "used": nn.Linear(12, 5),
            "frozen": nn.Linear(3, 3),
            "unused": nn.Linear(3, 3),
            "forgotten": nn.Linear(12, 5, bias=False),
            "resting": nn.Linear(12, 5, bias=False),
            "small": nn.Linear(12, 5, bias=False).bfloat16(),
        }
    )
    model["frozen"].requires_grad_(False)
    optimizer = torch.optim.SGD(
        [
            {"params": [*model["used"].parameters(), *model["unused"].parameters()]},
            {"params": model["resting"].parameters(), "lr": 0.0},
            {"params": model["small"].parameters(), "lr": 1e-7},
        ],
        lr=0.1,
    )
    tracker = bm.Tracker(model, optimizer)
    for step in range(40):
        x, y = data(step)
        optimizer.zero_grad()
        z = sum(model[name](x) for name in ("used", "forgotten", "resting"))
        cross_entropy(z + model["small"](x.bfloat16()), y).backward()
        optimizer.step()
    said = {name: f.what for f in tracker.findings() for name in f.where}
    assert "requires_grad" in said["frozen.weight"]
    assert "unused" in said["unused.bias"]
    assert "in no group" in said["forgotten.weight"]
    assert "learning rate of its group is 0" in said["resting.weight"]
    assert "rounding of bfloat16" in said["small.weight"]
    assert "used.weight" not in said
    text = str(tracker.summary())
    assert "after 40 steps" in text
    assert " 0.0 %" not in text
    assert "frozen.weight, frozen.bias" in text


def test_a_model_that_changes_under_the_tracker_is_said():
    model = make_model()
    optimizer = sgd(model)
    tracker = bm.Tracker(model, optimizer, schedule=1)
    make_steps(model, optimizer, 1)
    model[3] = nn.Linear(20, 5)
    model.append(nn.Linear(5, 5))
    optimizer.add_param_group({"params": model[4].parameters()})
    make_steps(model, optimizer, 2, 1)
    names = dict(what(tracker))
    assert names["added"] == ("4.weight", "4.bias")
    assert names["replaced"] == ("3.weight", "3.bias")
    model[0] = nn.Linear(12, 30)
    with torch.no_grad():
        model[2].weight[3] = float("inf")
    assert dict(what(tracker))["removed"] == ("0.weight", "0.bias")
    assert dict(what(tracker))["nonfinite"] == ("2.weight",)
    assert "Inf in 2.weight" in tracker.summary().verdict
    assert tracker.records.parameter.size == 6


def test_what_starts_at_zero_has_moved_in_units_of_its_law():
    model = nn.Sequential(nn.Linear(12, 8, bias=False), nn.Linear(8, 5))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    optimizer = sgd(model)
    tracker = bm.Tracker(model, optimizer)
    make_steps(model, optimizer, 1)
    rows = {row.name: row for row in tracker.summary().kinds}
    head = rows["1.weight"]
    rms = float(model[1].weight.detach().square().mean().sqrt())
    assert head.from_zero
    assert head.moved == pytest.approx(rms * 24**0.5, rel=1e-5)  # U(+-1/sqrt(8))
    assert "σ" in str(tracker.summary())
    model.register_parameter("a<b", nn.Parameter(torch.ones(2)))
    page = tracker.summary()._repr_html_()
    assert "a&lt;b" in page
    assert "a<b" not in page


class Told:
    """A sink that keeps what it was told, and fails at alerts."""

    def __init__(self):
        self.numbers, self.seen = {}, []

    def begin(self, run):
        self.seen.append(("begin", run.name))

    def scalars(self, step, values):
        self.numbers.setdefault(step, {}).update(values)

    def arrays(self, step, measured):
        self.seen.append(("arrays", step))

    def alert(self, step, finding):
        self.seen.append((finding.name, step))
        raise OSError("no line")

    def finish(self):
        self.seen.append(("finish", ""))


def test_sinks_are_told_all_and_stop_nothing(caplog):
    told, model = Told(), make_model()
    model[1].register_parameter("unused", nn.Parameter(torch.ones(2)))
    optimizer = sgd(model)
    with bm.Tracker(model, optimizer, name="mine", sinks=[told], schedule=1) as tracker:
        for step in range(2):
            tracker.log(loss=torch.tensor(float(step)), note=3)
            make_steps(model, optimizer, 1, step)
    assert told.seen == [("begin", "mine"), ("still", 1), ("finish", "")]
    assert "no line" in caplog.text
    assert told.numbers[1]["loss"] == 1.0
    expected = tracker.records.distance.sel(step=1, parameter="0.weight").item()
    assert told.numbers[1]["distance/0.weight"] == expected
    assert [told.numbers[step].get("note") for step in (0, 1, 2)] == [3, 3, None]


@pytest.mark.parametrize("look", ["summary", "records"])
def test_a_look_before_the_end_does_not_stand_in_its_way(tmp_path, look):
    """At a step that no schedule asks for: 7 is none of 0, 1, 2, 4, 8."""
    model = make_model()
    optimizer = sgd(model)
    tracker = bm.Tracker(model, optimizer, store=tmp_path, name=look)
    make_steps(model, optimizer, 7)
    tracker.log(loss=1.0)
    assert tracker.summary() if look == "summary" else len(tracker.records.step)
    tracker.finish()
    records = bm.open_store(tmp_path).records(tracker.run_key, by="parameter")
    assert records.step.values.tolist() == [0, 1, 2, 4, 7]
    assert records.loss.sel(step=7).item() == 1
    assert (look == "records") == bool(records.distance.sel(step=7).isnull().all())


def test_without_an_optimizer_or_a_module_steps_are_ones_own():
    weights = {"w": np.zeros((3, 2)), "b": np.ones(2)}
    tracker = bm.Tracker(lambda: weights, name="jax", tensors="w", schedule=2)
    for _ in range(4):
        weights["w"] = weights["w"] + 1.0
        tracker.step()
    records = tracker.records
    assert records.parameter.values.tolist() == ["w"]
    expected = [0, 6**0.5, 24**0.5, 96**0.5]
    assert records.distance.values.ravel() == pytest.approx(expected)
    state = tracker.state_dict()
    again = bm.Tracker(lambda: weights, name="jax", tensors="w", schedule=2)
    again.load_state_dict(state)
    weights["w"] = weights["w"] + 2.0
    again.step()
    again.step()
    assert again.records.distance.values.ravel() == pytest.approx([6 * 6**0.5])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep": "disk"}, "keep is one of device"),
        ({"keep": "file"}, "needs a store"),
        ({"schedule": "weekly"}, "schedule must be"),
        ({"fields": {"state": 1}}, "another name"),
        ({"tensors": "decoder.*"}, "no tensor is named like decoder"),
        ({"measurements": ["distanse"]}, "did you mean 'distance'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options, words):
    with pytest.raises(BirthmarkError, match=words) as caught:
        bm.Tracker(make_model(), **options).begin()
    assert "\n" not in str(caught.value)


def test_one_number_is_logged_under_each_name():
    tracker = bm.Tracker(make_model())
    with pytest.raises(SpecError, match="takes one number"):
        tracker.log(loss=torch.ones(3))
    with pytest.raises(SpecError, match=r"log\(name"):
        tracker.log({"name": "text"})
