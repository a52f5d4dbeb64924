"""A tracker, and a sweep, cut before each change of a file: the same end (slow)."""

import pytest
import xarray as xr

import kills
from birthmark.spec import RunSpec
from birthmark.store import open_store, verify_store
from birthmark.sweeps import Here, make_plan
from faults import killed_at
from tracked_loop import train

pytestmark = pytest.mark.slow
SPECS = [
    RunSpec(
        data={"name": "digits"},
        network={"widths": [6, 6]},
        training={"epochs": 2},
        run={"replicas": 2, "seed": seed},
        record={"weights": [0, 2]},
    )
    for seed in (0, 1)
]


def sweep(path):
    plan = make_plan(SPECS, open_store(path, create=True), threads=1)
    outcomes = Here().carry_out(plan.tasks, path, lambda standing: None)
    assert {outcome.status for outcome in outcomes} <= {"done", "skipped"}


def cuts(function, path, *, every=1):
    """Folders that were left behind by processes which were killed ever later."""
    for change in range(1, 1000, every):
        folder = path / str(change)
        folder.mkdir()
        process = kills.start(killed_at, change, function, folder)
        process.join()
        if process.exitcode == 0:
            assert change > 10
            return
        assert process.exitcode == -9
        yield folder


def test_a_tracker_cut_before_any_change_of_a_file_has_the_same_records(tmp_path):
    (tmp_path / "whole").mkdir()
    expected = train(tmp_path / "whole").records
    resumed = 0
    for folder in cuts(train, tmp_path):
        has_state = (folder / "checkpoint.pt").exists()
        found = train(folder, resume=has_state).records
        xr.testing.assert_identical(found, expected)
        assert verify_store(open_store(folder / "runs")) == []
        resumed += has_state
    assert resumed > 3


def test_a_sweep_cut_before_changes_of_files_has_the_same_records(tmp_path):
    (tmp_path / "whole").mkdir()
    sweep(tmp_path / "whole")
    whole = open_store(tmp_path / "whole")
    for folder in cuts(sweep, tmp_path, every=3):
        sweep(folder)
        store = open_store(folder)
        for spec in SPECS:
            xr.testing.assert_equal(
                store.records(spec.run_key), whole.records(spec.run_key)
            )
        assert verify_store(store) == []
