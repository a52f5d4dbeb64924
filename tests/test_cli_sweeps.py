"""What a sweep says on the command line, and how its damage is repaired there."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import threading

import pytest

from birthmark import cli
from birthmark.cli import tables
from birthmark.store import open_store
from birthmark.sweeps import Grid, RunTask
from kills import start
from test_crash import assert_same, contents
from test_sweeps_executors import birthmark

GRID = """
[spec.data]
name = "digits"
examples_per_class = 5
[spec.network]
widths = [4, 4]
[spec.training]
epochs = 2
[spec.run]
replicas = 1
[grid.product]
"run.seed" = { seeds = 3 }
"""


@pytest.fixture
def say(monkeypatch, capsys):
    """Give a command; its status and what it printed."""

    def give(*words):
        monkeypatch.setattr("sys.argv", ["birthmark", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out + printed.err

    return give


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    return path


def test_damage_is_found_named_and_repaired_and_nothing_else_is_touched(
    say, grid, tmp_path, caplog
):
    store = tmp_path / "runs"
    assert say("sweep", grid, "--store", store)[0] == 0
    keys = [spec.run_key for spec in Grid.from_toml(grid)]
    before = {p: p.read_bytes() for p in store.glob("*/*.parquet")}
    flipped = store / keys[0] / "layers-000002.parquet"
    flipped.write_bytes(flipped.read_bytes()[:-9] + b"123456789")
    (store / keys[1] / "schema.json").unlink()
    times = {key: (store / key).stat().st_mtime_ns for key in keys}

    status, printed = say("verify", "--store", store)
    assert status == 1 and "2 of 3 runs are damaged" in printed
    assert str(flipped) in printed and "schema.json is missing" in printed
    status, printed = say("export", tmp_path / "out.csv", "--store", store)
    assert status == 0 and f"run {keys[0]} is left out: {flipped} is" in caplog.text
    for command in ("figures", "report"):
        status, printed = say(command, "--store", store, "--out", tmp_path / command)
        assert status == 0 and f"run {keys[0]} is left out: {flipped} is" in printed
    copies = tmp_path / "copies"
    copying = ("sweep", grid, "--store", store, "--copy-to", f"file://{copies}")
    status, printed = say(*copying)  # of whole runs alone: copies are made once
    assert status == 1 and "2 of 3 runs failed" in printed
    assert [path.parent.name for path in copies.glob("*/done")] == [keys[2]]
    assert f"{flipped} is damaged" in printed and "alone: " not in printed
    assert printed.count("to copy it: birthmark sweep") == 2

    status, printed = say("repair", "--store", store)
    assert status == 0 and "2 of 2 runs were repaired" in printed
    assert say("verify", "--store", store) == (0, "0 of 3 runs are damaged\n")
    assert say(*copying)[0] == 0 and say("verify", copies)[0] == 0
    assert {p: p.read_bytes() for p in store.glob("*/*.parquet")} == before
    untouched = [k for k in keys if (store / k).stat().st_mtime_ns == times[k]]
    assert untouched == [keys[2]]
    assert say("repair", "--store", store) == (0, "nothing is damaged\n")
    status, printed = say("sweep", grid, "--store", grid)  # a file, no folder
    assert status == 2 and len(printed.splitlines()) == 1


def test_a_run_that_is_gone_is_told_with_what_makes_it_again(
    say, grid, tmp_path, monkeypatch
):
    store, real = tmp_path / "it's runs", RunTask.carry_out

    def lose(task, *rest):
        real(task, *rest)
        if '"seed": 1' in task.spec.model_dump_json(indent=1):
            shutil.rmtree(store / task.key)

    with monkeypatch.context() as patch:
        patch.setattr(RunTask, "carry_out", lose)
        status, printed = say("sweep", grid, "--store", store)
    assert status == 1 and "1 of 3 runs failed" in printed and "alone: " not in printed
    (line,) = [one for one in printed.splitlines() if "to go on: " in one]
    words = shlex.split(line.partition("on: ")[2])
    status, printed = say(*words[1:])
    assert status == 0 and printed.count("was done") == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_failures_are_summed_up_with_what_makes_them_again(
    say, grid, tmp_path, workers
):
    store = tmp_path / "runs"
    specs = list(Grid.from_toml(grid))
    run = open_store(store, create=True).start_run(specs[1])
    run.load_checkpoint()
    run.close()
    (store / specs[1].run_key / "checkpoint.safetensors").write_bytes(b"no checkpoint")
    status, printed = say("sweep", grid, "--store", store, "-j", workers)
    assert status == 1 and "1 of 3 runs failed" in printed
    assert open_store(store).runs(state="done")["run.seed"].tolist().count(1) == 0
    assert len(open_store(store).runs(state="done")) == 2
    (line,) = [line for line in printed.splitlines() if "alone: " in line]
    command = shlex.split(line.partition("alone: ")[2])
    assert command[0] == "birthmark"
    status, printed = say(*command[1:])
    assert status == 2 and "checkpoint.safetensors is damaged" in printed
    log = (store / "sweep-log.jsonl").read_text().splitlines()
    failed = [one for one in map(json.loads, log) if one.get("status") == "failed"]
    assert [one["key"] for one in failed] == [specs[1].run_key]
    assert say("repair", "--store", store)[0] == 0
    assert say("sweep", grid, "--store", store)[0] == 0


def test_a_run_that_is_harmed_while_others_train_stops_none_of_them(
    say, grid, tmp_path, monkeypatch
):
    store, real = tmp_path / "runs", RunTask.carry_out
    keys = [spec.run_key for spec in Grid.from_toml(grid)]

    def exchanged(task, *rest):
        real(task, *rest)
        if task.key == keys[1]:
            one, other = (store / key / "metrics-000002.parquet" for key in keys[:2])
            content = one.read_bytes()
            one.write_bytes(other.read_bytes())
            other.write_bytes(content)

    copies = tmp_path / "copies"
    copying = ("--copy-to", f"file://{copies}")
    with monkeypatch.context() as patch:
        patch.setattr(RunTask, "carry_out", exchanged)
        status, printed = say("sweep", grid, "--store", store, *copying)
    assert status == 1 and "1 of 3 runs failed" in printed
    assert f"{keys[1]}: {store / keys[1]}" in printed and "is damaged" in printed
    assert "seed 2: done in" in printed and "alone: " not in printed
    assert not (copies / keys[1]).exists() and (copies / keys[2]).exists()
    assert say("repair", store)[1].startswith("2 of 2 runs were repaired\n")
    assert say("sweep", grid, "--store", store, *copying)[0] == 0


def test_log_and_status_say_what_is_true_of_runs_that_ctrl_c_found_at_their_end(
    say, grid, tmp_path, monkeypatch
):
    store, real, ended = tmp_path / "runs", RunTask.carry_out, []

    def interrupted_at_its_end(task, *rest):
        real(task, *rest)
        ended.append(task.key)
        if len(ended) != 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunTask, "carry_out", interrupted_at_its_end)
    status, printed = say("sweep", grid, "--store", store)
    assert status == 130 and "seed 0: done in" in printed
    assert "Stopped and saved. To go on: birthmark sweep" in printed
    status, printed = say("sweep", grid, "--store", store)
    assert status == 0 and "Stopped" not in printed and len(ended) == 3
    log = (store / "sweep-log.jsonl").read_text().splitlines()
    told = [one for one in map(json.loads, log) if "status" in one]
    assert [one["status"] for one in told] == ["done"] * 3


def test_watching_ends_when_all_is_done_and_shows_who_is_at_work(
    say, grid, tmp_path, monkeypatch
):
    store = tmp_path / "runs"
    monkeypatch.setattr(tables.time, "sleep", threading.Event().wait)
    held = open_store(store, create=True).start_run(next(iter(Grid.from_toml(grid))))
    sweep = start(birthmark, "sweep", grid, "--store", store)
    os.environ.pop("COLUMNS", None)
    threading.Timer(3, held.close).start()
    status, printed = say("status", "--store", store, "--watch")
    sweep.join()
    assert status == 0 and sweep.exitcode == 0
    assert printed.endswith("\n3 done\n")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("faketime"), reason="needs faketime")
def test_a_sweep_goes_on_under_a_clock_that_was_set_back(say, grid, tmp_path):
    store, undisturbed = tmp_path / "runs", tmp_path / "undisturbed"
    assert say("sweep", grid, "--store", undisturbed)[0] == 0
    specs = list(Grid.from_toml(grid))
    done = tmp_path / "one.toml"
    done.write_text(GRID.replace("seeds = 3", "seeds = 1"))
    assert say("sweep", done, "--store", store)[0] == 0
    run = open_store(store).start_run(specs[1])
    run.load_checkpoint()
    run.close()
    program = "from birthmark.cli import main; main()"
    back = ["faketime", "-f", "-3d", sys.executable, "-c", program]
    for words in (("sweep", grid), ("verify",)):
        subprocess.run([*back, *words, "--store", store], check=True)
    (store / "sweep-log.jsonl").unlink()
    (undisturbed / "sweep-log.jsonl").unlink()
    assert_same(store, contents(undisturbed))
    assert open_store(store).runs()["state"].tolist() == ["done"] * 3
