"""What a plan says of times: from one trial of each kind of run, kept for the next."""

import json
import time

import pytest
import torch

from birthmark.measurements import measure
from birthmark.sweeps import make_plan, plan
from test_sweeps_executors import spec


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """The trials of this machine, by name; there are none before the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "cache" / "birthmark" / "paces.json"
    monkeypatch.setattr(plan, "_TRIAL_SECONDS", 0.01)

    def read():
        return json.loads(path.read_text()) if path.exists() else {}

    read.path = path
    return read


def estimate(*specs, **options):
    made = make_plan(specs, None, timed=True, **{"threads": 1, **options})
    return [made.seconds[one.run_key] for one in specs]


def test_runs_alike_share_a_trial_and_others_have_their_own(kept, monkeypatch):
    short, other, quick, long = estimate(
        spec(0), spec(1), spec(0, lr=0.1), spec(0, epochs=300)
    )
    (first,) = kept().values()
    assert short == other == quick and 30 < long / short < 110
    assert estimate(spec(2)) == [short] and [*kept().values()] == [first]
    wider = spec().with_settings({"network.widths": [9, 8]})
    for count, (one, threads) in enumerate(
        [(spec(0, batch_size=7), 1), (spec(0, momentum=0.9), 1), (wider, 1), (wider, 2)]
    ):
        estimate(one, threads=threads)
        assert len(kept()) == 2 + count
    monkeypatch.setattr(
        plan, "find_path_name", lambda spec, device: "general"
    )  # as where no compiler is left
    estimate(spec())
    monkeypatch.setattr(
        plan, "describe_software", lambda: {"versions": {"birthmark": "next"}}
    )
    estimate(spec())
    assert len(kept()) == 7
    assert next(iter(kept().values())) == first  # and is there still


def test_a_trial_leaves_out_what_a_first_look_takes(kept, monkeypatch):
    looks = []

    def import_first(*arguments, **options):
        if not looks:
            time.sleep(2)
        looks.append(options)
        return measure(*arguments, **options)

    monkeypatch.setattr(plan, "measure", import_first)
    before = torch.get_num_threads()
    estimate(spec(), threads=before + 1)
    assert torch.get_num_threads() == before
    assert looks and next(iter(kept().values()))["record"] < 2


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"a": 3}', '{"a": {"step": 1}}', "null"]
)
def test_damaged_trials_are_made_anew(kept, content):
    kept.path.parent.mkdir(parents=True)
    kept.path.write_text(content)
    (seconds,) = estimate(spec())
    assert seconds > 0 and len(kept()) == 1


def test_trials_that_cannot_be_kept_are_made_each_time(kept):
    kept.path.parent.parent.mkdir()
    kept.path.parent.write_text("a file, no folder")
    assert estimate(spec())[0] > 0
