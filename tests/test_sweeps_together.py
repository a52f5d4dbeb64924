"""Several runs at the same time: no bit of any of them depends on the others."""

import signal

import pytest
import torch
import xarray as xr

import birthmark as bm
from birthmark.spec import RunSpec
from birthmark.sweeps import Grid, pipeline, run, run_grid
from birthmark.sweeps.grid_runs import find_groups
from birthmark.training import count_together, estimate_memory
from kills import run_and_kill

SMALL = {
    "data": {"name": "digits", "examples_per_class": 20},
    "training": {"epochs": 6, "batch_size": 32},
    "run": {"replicas": 2},
}


def make_spec(widths, **settings):
    return RunSpec(**SMALL).with_settings({"network.widths": widths, **settings})


SPECS = (
    make_spec([16, 16], **{"record.epochs": [2, 9], "training.epochs": 12}),
    make_spec([5], **{"training.momentum": 0.5, "run.replicas": 1}),
    make_spec(
        [9, 4], **{"run.dtype": "float64", "record.weights": [3], "data.classes": 7}
    ),
)


def assert_stored_alike(found, expected, specs):
    for spec in specs:
        xr.testing.assert_identical(
            found.records(spec.run_key).drop_attrs(),
            expected.records(spec.run_key).drop_attrs(),
        )
        epochs = expected.weights_epochs(spec.run_key)
        assert found.weights_epochs(spec.run_key) == epochs
        for epoch in epochs:
            one, other = (s.weights(spec.run_key, epoch) for s in (found, expected))
            for name, layer in other.items():
                assert (one[name].w == layer.w).all()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A store with each run carried out by itself."""
    folder = tmp_path_factory.mktemp("alone")
    for spec in SPECS:
        run(spec, folder)
    return bm.open_store(folder)


def test_each_run_is_recorded_as_if_it_were_alone(tmp_path, alone):
    seen, finished = [], []
    results = run_grid(
        Grid(SPECS), tmp_path, at_once=3, watch=seen.append, finished=finished.append
    )
    assert [result.run_key for result in results] == [s.run_key for s in SPECS]
    assert len(finished) == 3
    store = bm.open_store(tmp_path)
    assert_stored_alike(store, alone, SPECS)
    keys = [spec.run_key for spec in SPECS]
    for spec in SPECS:
        manifest = store.manifest(spec.run_key)
        assert manifest["beside"] == [key for key in keys if key != spec.run_key]
        assert "beside" not in alone.manifest(spec.run_key)
    shares = [progress.share for progress in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert {progress.spec.run_key for progress in seen} == {SPECS[0].run_key}
    assert seen[-1].seconds_left == 0 < seen[-1].examples_per_second


def test_all_are_at_work_between_two_looks(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(pipeline, "LOOK_SECONDS", 0.0)  # a step each
    store = bm.open_store(tmp_path, create=True)
    runs = pipeline.carry_out(SPECS, store)
    for _ in range(3):
        next(runs)
    runs.close()
    for spec in SPECS:
        _, facts = store.start_run(spec).load_checkpoint()
        assert (facts["epoch"], facts["batch"]) == (0, 3)


def test_each_goes_on_with_as_many_threads_as_it_began_with(tmp_path, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(pipeline, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(pipeline, "LOOK_SECONDS", 0.0)
    store = bm.open_store(tmp_path, create=True)
    for number, spec in enumerate(SPECS[:2]):
        torch.set_num_threads(before + 1 + number)
        runs = pipeline.carry_out([spec], store)
        next(runs)
        runs.close()
    torch.set_num_threads(before)
    runs = pipeline.carry_out(SPECS, store)
    next(runs)
    assert torch.get_num_threads() == before
    runs.close()
    threads = [store.start_run(s).load_checkpoint()[1]["threads"] for s in SPECS]
    assert threads == [before + 1, before + 2, before]


def go_on(specs, store):
    """Never in the same company twice."""
    pipeline.CHECKPOINT_SECONDS = pipeline.LOOK_SECONDS = 0.02
    starts = len([*store.parent.glob("start*")])
    (store.parent / f"start{starts}").touch()
    run_grid(Grid(specs), store, at_once=max(1, 3 - starts))


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_started_again_in_other_company_equals_never_stopped(tmp_path, kill):
    specs = tuple(spec.with_settings({"training.epochs": 15}) for spec in SPECS)
    whole = bm.open_store(tmp_path / "whole", create=True)
    for spec in specs:
        run(spec, whole)
    cut = tmp_path / "cut"
    begun = (cut / specs[-1].run_key / "manifest.json").exists
    waits = [0.05, 0.1] if kill == signal.SIGKILL else [0.05]
    run_and_kill(go_on, (specs, cut), kill, begun, waits)
    assert_stored_alike(bm.open_store(cut), whole, specs)


def test_a_signal_saves_all_that_have_begun(tmp_path):
    store = bm.open_store(tmp_path, create=True)
    runs = pipeline.carry_out(SPECS, store)
    next(runs)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        next(runs)
    assert store.runs().state.tolist() == ["stopped"] * 3


def test_as_many_train_together_as_fit():
    needs = [estimate_memory(spec) for spec in SPECS]
    # beside the first, each takes what it takes without the libraries
    added = [needs[0].total, *(need.total - need.runtime for need in needs[1:])]
    for count in (1, 2, 3):
        room = sum(added[:count])
        assert count_together(SPECS, limit=3, available=room) == count
        assert count_together(SPECS, limit=3, available=room - 1) == max(1, count - 1)
    assert count_together(SPECS, limit=2) == 2
    assert count_together(SPECS) == 1  # on a CPU


def test_groups_keep_the_order_and_every_run():
    specs = list(SPECS)
    assert find_groups(specs) == [[one] for one in specs]
    assert find_groups(specs, 2) == [specs[:2], specs[2:]]
    assert find_groups(specs, 9) == [specs]
    assert find_groups([]) == []
