"""Whoever carries a run out, it is the same run, to the last bit."""

import contextlib
import json
import multiprocessing
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from birthmark.errors import SpecError
from birthmark.spec import RunSpec
from birthmark.store import open_store
from birthmark.sweeps import Here, Processes, RunTask, make_plan, pipeline, run, sweep
from kills import start
from test_crash import assert_same as assert_equal_bytes
from test_crash import contents

TIMES = {"wall_time_s"}


def spec(seed=0, **tables):
    return RunSpec(
        data={"name": "digits"},
        network={"widths": [8, 8]},
        training={"epochs": 3, "lr": 0.2, **tables},
        run={"replicas": 2, "seed": seed},
        record={"weights": [3]},
    )


def carry_out(executor, specs, store):
    plan = make_plan(specs, open_store(store, create=True), threads=1)
    told = []
    return [*executor.carry_out(plan.tasks, store, told.append)], told


def assert_same(found, expected, keys):
    for key in keys:
        xr.testing.assert_identical(
            found.records(key).drop_attrs(deep=False),
            expected.records(key).drop_attrs(deep=False),
        )
        manifests = [store.manifest(key) for store in (found, expected)]
        for manifest in manifests:
            for name in TIMES:
                manifest.pop(name)
        assert manifests[0] == manifests[1]
        for name, layer in expected.weights(key, 3).items():
            np.testing.assert_array_equal(found.weights(key, 3)[name].w, layer.w)


class Fatal(RunTask):
    """Kills the process that carries it out, the first time."""

    def carry_out(self, store, report):
        mark = store / "killed"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super().carry_out(store, report)


def test_a_pool_makes_the_same_runs_and_outlives_its_workers(tmp_path):
    specs = [spec(0), spec(1), spec(2, loss="cross_entropy"), spec(3, lr=0.1)]
    outcomes, told = carry_out(Here(), specs, tmp_path / "here")
    assert [one.status for one in outcomes] == ["done"] * 4
    assert {one.key for one in told} == {one.run_key for one in specs}
    plan = make_plan(specs, open_store(tmp_path / "pool", create=True), threads=1)
    fatal = Fatal(plan.tasks[0].spec, plan.tasks[0].how)
    tasks = [fatal, *plan.tasks[1:]]
    found = [*Processes(2).carry_out(tasks, tmp_path / "pool", lambda one: None)]
    assert (tmp_path / "pool" / "killed").exists()
    assert {one.key: one.status for one in found} == {
        one.run_key: "done" for one in specs
    }
    here, pool = open_store(tmp_path / "here"), open_store(tmp_path / "pool")
    assert_same(pool, here, [one.run_key for one in specs])


def test_one_failure_is_told_and_stops_no_other(tmp_path, monkeypatch):
    def fail(task, store, report):
        raise RuntimeError("no such luck\nand more")

    good, bad = RunTask(spec(0)), RunTask(spec(1))
    real = RunTask.carry_out
    monkeypatch.setattr(
        RunTask,
        "carry_out",
        lambda task, *rest: (fail if task.key == bad.key else real)(task, *rest),
    )
    open_store(tmp_path, create=True)
    outcomes = [*Here().carry_out([bad, good], tmp_path, lambda one: None)]
    assert [one.status for one in outcomes] == ["failed", "done"]
    assert outcomes[0].message == "RuntimeError: no such luck"
    spec_file = tmp_path / bad.key / "spec.toml"
    monkeypatch.chdir(tmp_path)
    assert bad.command(Path()) == f"birthmark run {spec_file} --store {tmp_path}"


def test_a_second_start_waits_for_the_first_and_trains_nothing(
    tmp_path, monkeypatch, caplog
):
    """Of one run, in two threads; the second goes on only if the first ends early."""
    monkeypatch.setattr(pipeline, "WAIT_SECONDS", 0.02)
    monkeypatch.setattr(pipeline, "LOOK_SECONDS", 0.0)
    began, go_on, found = threading.Event(), threading.Event(), {}

    def hold(progress):
        began.set()
        go_on.wait(60)

    def start(name, watch):
        found[name] = run(spec(0), tmp_path, watch=watch)

    steps = []
    first = threading.Thread(target=start, args=("first", hold))
    second = threading.Thread(target=start, args=("second", steps.append))
    first.start()
    assert began.wait(60)
    second.start()
    while "waiting for it" not in caplog.text:
        second.join(0.01)
        assert second.is_alive()
    go_on.set()
    for thread in (first, second):
        thread.join()
    assert (found["first"].was_done, found["second"].was_done) == (False, True)
    assert steps == []
    left = open_store(tmp_path).start_run(spec(1))
    third = threading.Thread(target=lambda: found.update(third=run(spec(1), tmp_path)))
    third.start()
    third.join(0.1)
    assert third.is_alive()
    left.close()  # ended before it was done
    third.join()
    assert not found["third"].was_done


@pytest.mark.skipif(sys.platform != "linux", reason="needs signals of POSIX")
def test_a_pool_that_is_terminated_saves_and_goes_on(tmp_path):
    text = (
        "import sys; from pathlib import Path\n"
        "from test_sweeps_executors import spec, carry_out\n"
        "from birthmark.sweeps import Processes\n"
        "if __name__ == '__main__':\n"
        "    specs = [spec(seed, epochs=400) for seed in (0, 1)]\n"
        "    found, _ = carry_out(Processes(2), specs, Path(sys.argv[1]))\n"
        "    print([one.status for one in found])\n"
    )
    script = tmp_path / "script.py"
    script.write_text(text)
    keys = [spec(seed, epochs=400).run_key for seed in (0, 1)]
    store = tmp_path / "runs"
    folder = os.path.dirname(__file__)  # noqa: PTH120
    paths = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, script, store],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    while not all((store / key / "manifest.json").exists() for key in keys):
        time.sleep(0.05)
        assert process.poll() is None
    time.sleep(0.3)
    process.terminate()
    printed, _ = process.communicate(timeout=120)
    assert "stopped" in printed
    states = open_store(store).runs()["state"].tolist()
    assert set(states) <= {"stopped", "done"} and "stopped" in states


def train(track, lr, width, seed):
    """As a user writes it."""
    import torch

    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(3, width), torch.nn.ReLU(), torch.nn.Linear(width, 2)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    tracker = track(model, optimizer)
    x, y = torch.randn(16, 3), torch.randint(2, (16,))
    for _ in range(4):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        tracker.log(loss=loss)


def test_a_function_of_the_users_own_is_swept_once(tmp_path):
    grid = {"lr": [0.1, 0.2], "width": [4], "seed": [0, 1]}
    outcomes = sweep(train, grid, store=tmp_path)
    assert [one.status for one in outcomes] == ["done"] * 4
    runs = open_store(tmp_path).runs()
    assert runs["state"].tolist() == ["done"] * 4
    assert sorted(zip(runs["lr"], runs["replica"], strict=True)) == [
        *((0.1, 0), (0.1, 1), (0.2, 0), (0.2, 1)),
    ]
    again = []
    more = sweep(
        train,
        {**grid, "lr": [0.1, 0.2, 0.3]},
        store=tmp_path,
        where="lr < 0.25 or seed == 0",
        finished=again.append,
    )
    assert len(more) == 5 and len(again) == 1
    assert again[0].key == "train(lr=0.3, width=4, seed=0)"
    # of the same name, but of other fields, or of true in the place of 1
    for fields in ({"lr": [0.1]}, {"lr": [0.1], "width": [True]}):
        other = sweep(
            lambda track, lr, width=4: train(track, lr, int(width), 0),
            fields,
            store=tmp_path,
            name="train",
            finished=again.append,
        )
        assert [one.status for one in other] == ["done"]
    assert len(again) == 3


def train_until_terminated(track, seed):
    import torch

    model = torch.nn.Linear(3, 2)
    tracker = track(model)
    for step in range(5):
        tracker.log(loss=float(step))
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        tracker.step()


@pytest.mark.parametrize("executor", [None, Processes(1)], ids=["here", "processes"])
def test_a_call_that_is_terminated_keeps_its_records(tmp_path, executor):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        grid = {"seed": [0, 1]}
        sweep(train_until_terminated, grid, store=tmp_path, executor=executor)
    assert signal.getsignal(signal.SIGTERM) == before
    store = open_store(tmp_path)
    keys = store.runs(state="stopped")["run_key"]
    assert len(keys) == (1 if executor is None else 2)  # whom a stranger has stopped
    for key in keys:
        assert store.records(key).loss.values.ravel().tolist() == [0, 1, 2]


def train_to_the_end(track, seed):
    """Interrupted when its run is done, before that is told."""
    tracker = track(torch.nn.Linear(3, 2))
    tracker.step()
    tracker.finish()
    parent = multiprocessing.parent_process()
    if parent is None:
        raise KeyboardInterrupt
    os.kill(parent.pid, signal.SIGTERM)
    time.sleep(60)


@pytest.mark.parametrize("executor", [None, Processes(1)], ids=["here", "processes"])
def test_a_run_that_was_about_to_end_is_done_whatever_came(tmp_path, executor):
    told = []
    whole = {"store": tmp_path, "executor": executor, "finished": told.append}
    with pytest.raises(KeyboardInterrupt):  # for the second is not begun
        sweep(train_to_the_end, {"seed": [0, 1]}, **whole)
    assert [(one.key, one.status) for one in told] == [
        ("train_to_the_end(seed=0)", "done")
    ]
    outcomes = sweep(train_to_the_end, {"seed": [0, 1]}, **whole)  # that was the last
    assert [one.status for one in outcomes] == ["done", "done"]
    assert len(told) == 2


def train_slowly(track, seed):
    torch.manual_seed(seed)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tracker = track(model, optimizer, schedule=1)
    for _ in range(30):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 3)).pow(2).mean()
        loss.backward()
        optimizer.step()
        tracker.log(loss=loss)
        time.sleep(0.02)


def sweep_slowly(store, workers=0):
    executor = Processes(workers) if workers else None
    sweep(train_slowly, {"seed": range(3)}, store=store, executor=executor)


@pytest.mark.parametrize("workers", [0, 2], ids=["here", "processes"])
def test_after_a_second_ctrl_c_the_same_call_completes_all_to_the_same_bits(
    tmp_path, workers
):
    sweep_slowly(tmp_path / "whole")
    store = tmp_path / "runs"
    for wait in (0.0, 0.05):
        process = start(sweep_slowly, store, workers)
        while "running" not in {*open_store(store, create=True).runs()["state"]}:
            assert process.is_alive()
        os.kill(process.pid, signal.SIGINT)
        time.sleep(wait)
        with contextlib.suppress(ProcessLookupError):  # the first was enough
            os.kill(process.pid, signal.SIGINT)
        process.join(60)
        assert process.exitcode not in (0, None)
    sweep_slowly(store)
    assert_equal_bytes(store, contents(tmp_path / "whole"))


class Done:
    """A task of which nothing is left to do."""

    key = "0"

    def is_done(self, store):
        return True


def test_terminated_between_two_runs_it_stops_as_by_ctrl_c(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    outcomes = Here().carry_out([Done(), Done()], tmp_path, lambda standing: None)
    with pytest.raises(KeyboardInterrupt):
        for _ in outcomes:
            os.kill(os.getpid(), signal.SIGTERM)
    outcomes.close()
    assert signal.getsignal(signal.SIGTERM) == before


calls = []


def fail_once(track, text, seed):
    """Draws without a seed of its own, and fails when it is called first."""
    model = torch.nn.Linear(3, 2)
    track(model).step()
    drawn = random.random(), np.random.rand(), model.weight[0, 0].item()  # noqa: NPY002
    calls.append(drawn)
    if len(calls) == 1:
        raise ValueError("no such luck\nwith " + text)


@pytest.mark.parametrize("name", [None, "it's"])
def test_a_call_that_fails_is_told_with_what_makes_it_again(
    tmp_path, caplog, monkeypatch, name
):
    """The same call, which draws the same and says all of what it raises."""
    calls.clear()
    monkeypatch.chdir(tmp_path)
    store, fields = Path("it's a store"), {"text": ["a \"b\" 'c' $HOME"]}
    grid = {**fields, "seed": [3]}
    before = torch.get_rng_state()
    outcomes = sweep(fail_once, grid, store=store, name=name)
    assert [one.status for one in outcomes] == ["failed"]
    (record,) = [one for one in caplog.records if "failed" in one.message]
    assert (record.name, record.levelname) == ("birthmark", "WARNING")
    said, command = record.message.split("\n  alone: ")
    assert "seed=3) failed: ValueError: no such luck" in said
    python, option, code = shlex.split(command)
    assert (python, option) == ("python", "-c")
    failed = calls.pop()
    monkeypatch.chdir("/")  # from wherever it is called
    with pytest.raises(ValueError, match=r"with a \"b\" 'c' \$HOME"):
        exec(code, {})
    assert calls == [failed]
    monkeypatch.chdir(tmp_path)
    # under the same name, and with the same start: else it would be refused
    assert [one.status for one in sweep(fail_once, grid, store=store, name=name)] == [
        "done"
    ]
    assert calls == [failed, failed]
    assert torch.equal(torch.get_rng_state(), before)
    sweep(fail_once, {**fields, "seed": [4]}, store=store, name=name)
    assert calls[2][2] != failed[2]
    assert len(open_store(store).runs(state="done")) == 2


def test_a_call_of_a_function_that_no_module_has_is_told_in_python(tmp_path, caplog):
    sweep(lambda track, lr: 1 / lr, {"lr": [0.0]}, store=tmp_path, name="mine")
    said = f'birthmark.sweeps.call(<lambda>, {{"lr": 0.0}}, store="{tmp_path}"'
    assert "mine(lr=0.0) failed: ZeroDivisionError" in caplog.text
    assert f'{said}, name="mine")' in caplog.text


def test_a_part_of_a_sweep_may_be_empty_and_is_one_of_its_parts(tmp_path):
    found = sweep(fail_once, {"text": ["a"], "seed": [0]}, store=tmp_path, shard=(2, 2))
    assert found == []
    for shard in ((0, 2), (3, 2)):
        with pytest.raises(SpecError, match="I from 1 to N"):
            sweep(fail_once, {"text": ["a"]}, store=tmp_path, shard=shard)
        with pytest.raises(SpecError, match="I from 1 to N"):
            make_plan([spec(0)], None, shard=shard)


def test_the_plans_of_one_machine_agree_whatever_it_is_busy_with(tmp_path, monkeypatch):
    """Libraries split sums otherwise: a trial of each plan would change last bits."""
    from birthmark.training import has_bf16_products, products

    if has_bf16_products():
        pytest.skip("no trial where products go through bfloat16")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = []
    for tried in ("medium", "highest"):  # as in two processes
        monkeypatch.setattr(products, "_try_settings", lambda tried=tried: tried)
        (task,) = make_plan([spec(0)], None).tasks
        found.append(task.how["products"])
    assert found == ["medium", "medium"]


def birthmark(*arguments):
    from birthmark import cli

    sys.argv = ["birthmark", *map(str, arguments)]
    cli.main()


def test_the_tasks_of_a_job_array_share_one_store_and_make_each_run_once(tmp_path):
    """Three shards and a whole sweep at once, as SLURM would start them."""
    grid = tmp_path / "grid.toml"
    grid.write_text(
        '[spec.data]\nname = "digits"\n[spec.network]\nwidths = [8, 8]\n'
        "[spec.training]\nepochs = 3\nlr = 0.2\n[spec.run]\nreplicas = 2\n"
        '[spec.record]\nweights = [3]\n[grid.product]\n"run.seed" = { seeds = 5 }\n'
    )
    runs, copies = tmp_path / "runs", f"file://{tmp_path}/copies"
    common = ("sweep", grid, "--store", runs, "--threads", 1, "--copy-to", copies)
    shards = [("--shard", f"{number}/3") for number in (1, 2, 3)]
    processes = [start(birthmark, *common, *more) for more in [*shards, ()]]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    specs = [spec(seed) for seed in range(5)]
    carry_out(Here(), specs, tmp_path / "here")
    here, keys = open_store(tmp_path / "here"), [one.run_key for one in specs]
    for store in (open_store(runs), open_store(tmp_path / "copies")):
        assert sorted(store.runs()["run_key"]) == sorted(keys)
        assert_same(store, here, keys)
    lines = (runs / "sweep-log.jsonl").read_text().splitlines()
    log = [json.loads(line) for line in lines]
    assert {one["status"] for one in log if "status" in one} == {"done"}
