"""Sweeps that are killed again and again end as if nothing had been (make test-crash).

A kill may come in training, measuring, writing, checkpoints, joining of segments, or
the index: they fill the time of these sweeps about evenly. KILLS in the environment
says how many kills there are in all.
"""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from birthmark.spec import RunSpec
from birthmark.store import index, open_store, verify_store
from birthmark.sweeps import Here, make_plan
from kills import PRELOADED, start

pytestmark = pytest.mark.crash

KILLS = int(os.environ.get("KILLS", "200"))
SPECS = [
    RunSpec(
        data={"name": "digits"},
        network={"widths": [width, width]},
        training={"epochs": epochs, "lr": 0.2, **more},
        run={"replicas": 2, "seed": seed, "dtype": dtype},
        record={"weights": [2, epochs], "distributions": [0, 3]},
        mark={"text": "a"} if width == 20 else None,
    )
    for seed, (width, epochs, dtype, more) in enumerate(
        [
            (12, 8, "float32", {}),
            (20, 6, "float32", {}),
            (12, 5, "float64", {"optimizer": "adam", "lr": 0.01}),
            (16, 6, "float32", {"loss": "cross_entropy", "momentum": 0.9}),
        ]
    )
]


def carry_out(store):
    """In a process of its own: the sweep, from wherever it stands."""
    from birthmark.sweeps import pipeline, provenance

    provenance._commit = lambda: "of the test"  # whoever edits meanwhile
    pipeline.CHECKPOINT_SECONDS = 0.02
    pipeline.LOOK_SECONDS = pipeline.WAIT_SECONDS = 0.01
    index.LEAST_RUNS = 1
    opened = open_store(store, create=True)
    plan = make_plan(SPECS, opened, threads=1)
    outcomes = [*Here().carry_out(plan.tasks, Path(store), lambda standing: None)]
    opened.runs()
    bad = [one for one in outcomes if one.status == "failed"]
    if bad:
        Path(store).with_suffix(".failed").write_text("\n".join(map(str, bad)))
    done = sum(outcome.status == "done" for outcome in outcomes)
    os._exit(3 if bad else 0 if done == len(plan.tasks) else 130)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a sweep leaves, and the seconds that it takes."""
    PRELOADED.append("torch._dynamo")  # seconds, for optimizers other than plain SGD
    path = tmp_path_factory.mktemp("undisturbed")
    process = start(carry_out, path)
    began = time.monotonic()
    process.join()
    assert process.exitcode == 0
    return contents(path), time.monotonic() - began


def contents(path):
    """All bytes of a store but for times: names of files, and what they hold."""
    found = {}
    for file in sorted(path.rglob("*")):
        name = str(file.relative_to(path))
        # nobody takes away the claim of one who was killed after its last word
        if not file.is_file() or file.name in ("index.parquet", "claim"):
            continue
        content = file.read_bytes()
        if file.name in ("manifest.json", "contents.json"):
            known = json.loads(content)
            known.pop("checksum", None)
            known.pop("wall_time_s", None)
            known.get("files", {}).pop("manifest.json", None)
            content = json.dumps(known, sort_keys=True).encode()
        found[name] = content
    return found


def assert_same(path, undisturbed):
    found = contents(path)
    assert found.keys() == undisturbed.keys()
    changed = [name for name in found if found[name] != undisturbed[name]]
    assert changed == []
    assert verify_store(open_store(path)) == []


def test_killed_at_random_moments(undisturbed, tmp_path):
    rng = random.Random()
    whole, seconds = undisturbed
    kills = rounds = 0
    while kills < KILLS:
        rounds += 1
        path = tmp_path / str(rounds)
        while True:
            process = start(carry_out, path)
            process.join(rng.uniform(0, seconds))
            process.kill()
            process.join()
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL
            kills += 1
        assert_same(path, whole)
    print(f"{kills} kills in {rounds} sweeps")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_stopped_at_random_moments(undisturbed, tmp_path, name):
    rng = random.Random()
    whole, seconds = undisturbed
    stops = rounds = 0
    while stops < KILLS // 5:
        rounds += 1
        path = tmp_path / str(rounds)
        while True:
            process = start(carry_out, path)
            process.join(rng.uniform(0, seconds))
            if process.is_alive():
                os.kill(process.pid, getattr(signal, name))
            process.join()
            if process.exitcode == 0:
                break
            # before and after the steps there is nothing to be saved
            assert process.exitcode in (130, 1, -getattr(signal, name))
            stops += 1
        assert_same(path, whole)


def test_five_processes_on_one_store_that_are_killed(undisturbed, tmp_path):
    rng = random.Random()
    whole, seconds = undisturbed
    kills = rounds = 0
    while kills < KILLS // 4:
        rounds += 1
        path = tmp_path / str(rounds)
        processes = [start(carry_out, path) for _ in range(5)]
        while any(process.is_alive() for process in processes):
            time.sleep(rng.uniform(0, seconds))
            place = rng.randrange(5)
            if processes[place].is_alive() and kills < KILLS // 4 * rounds:
                processes[place].kill()
                processes[place].join()
                kills += 1
                processes[place] = start(carry_out, path)
        failed = path.with_suffix(".failed")
        assert not failed.exists(), failed.read_text()
        assert {process.exitcode for process in processes} == {0}
        assert_same(path, whole)
    print(f"{kills} kills of 5 processes in {rounds} sweeps")
