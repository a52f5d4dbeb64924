"""What a sweep costs beside its training, and what a store of many runs costs to read.

Each door of the store, and the plan, is timed while a sweep of short runs is carried
out: processor time, which other work on the machine does not add to, and wall time,
in which waiting for the disk is.

    python benchmarks/bench_sweep.py --runs 200 --epochs 100
    python benchmarks/bench_sweep.py --runs 2000 --epochs 1 --replicas 1 --examples 5
    python benchmarks/bench_sweep.py --store runs

The last carries nothing out, and times what is read and drawn of a store that is there.
"""

import argparse
import functools
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import birthmark as bm
from birthmark.spec import RunSpec
from birthmark.store import RunFolder, Store, open_store
from birthmark.store import checksums as checksums_module
from birthmark.store import files as files_module
from birthmark.sweeps import Here, make_plan

DOORS = {
    "claim and order (start_run)": (Store, "start_run"),
    "checkpoint read (load_checkpoint)": (RunFolder, "load_checkpoint"),
    "rows of metrics": (RunFolder, "append_metrics"),
    "rows of measurements": (RunFolder, "append_measurements"),
    "weights written": (RunFolder, "save_weights"),
    "checkpoint written": (RunFolder, "save_checkpoint"),
    "manifest written": (RunFolder, "save_manifest"),
    "joined, sealed, done (finish)": (RunFolder, "finish"),
    "is it done (is_done)": (Store, "is_done"),
}
CHECKSUMS = ((checksums_module, "_digest"), (files_module, "seal"))


class Clock:
    """Adds up the time inside functions; what is nested in another counts once."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._inside = False

    def watch(self, name: str, owner: Any, attribute: str) -> None:
        """Time a function in its place."""
        function = getattr(owner, attribute)

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            if self._inside:
                return function(*arguments, **options)
            self._inside = True
            try:
                return self.time(name, lambda: function(*arguments, **options))
            finally:
                self._inside = False

        setattr(owner, attribute, timed)

    def time(self, name: str, call: Callable[[], Any]) -> Any:
        """Carry out and add up."""
        processor, wall = time.process_time(), time.perf_counter()
        try:
            return call()
        finally:
            self.spent[name][0] += time.process_time() - processor
            self.spent[name][1] += time.perf_counter() - wall


def time_sweep(specs: list[RunSpec], folder: Path) -> None:
    """Print what each part took of a sweep in this process."""
    bm.run(specs[0].with_settings({"run.seed": 10**6}), folder.parent / "warm")
    clock, checks = Clock(), Clock()
    for owner, attribute in CHECKSUMS:
        checks.watch("checksums", owner, attribute)
    for name, (owner, attribute) in DOORS.items():
        clock.watch(name, owner, attribute)
    store = open_store(folder, create=True)
    plan = clock.time("plan", lambda: make_plan(specs, store, threads=1))
    whole = Clock()
    outcomes = whole.time(
        "all",
        lambda: [*Here().carry_out(plan.tasks, folder, lambda standing: None)],
    )
    wrong = [outcome for outcome in outcomes if outcome.status != "done"]
    assert not wrong, wrong[0]
    clock.time("index made (runs)", store.runs)
    total, wall = whole.spent["all"]
    beside = sum(processor for processor, _ in clock.spent.values())
    inside = beside - clock.spent["plan"][0] - clock.spent["index made (runs)"][0]
    training = total - inside
    print(f"{len(specs)} runs: training and measuring {training:.2f} s of processor")
    print(f"  time, {wall:.1f} s of wall time in all")
    for name, (processor, waited) in clock.spent.items():
        share = processor / training
        print(f"  {name:34} {processor:7.3f} s {share:6.2%}  (wall {waited:.3f} s)")
    print(f"  {'all of these':34} {beside:7.3f} s {beside / training:6.2%}")
    spent = checks.spent["checksums"][0]
    print(f"  {'of which checksums':34} {spent:7.3f} s {spent / training:6.2%}")


def time_reading(folder: Path) -> None:
    """Print what it costs to look at a store: status, a run, a survey."""
    from birthmark.analysis import read_survey

    store, clock = open_store(folder), Clock()
    clock.time("runs(), with its index", store.runs)
    (folder / "index.parquet").unlink(missing_ok=True)
    clock.time("runs(), without", store.runs)
    clock.time("runs(seed=7)", lambda: store.runs(seed=7))
    key = store.runs()["run_key"][0]
    clock.time("records of one run, whole", lambda: store.records(key))
    clock.time("records of one run, again", lambda: store.records(key))
    clock.time("survey, as report and figures", lambda: read_survey(store))
    for name, (processor, wall) in clock.spent.items():
        print(f"  {name:34} {processor:7.3f} s of processor, {wall:.3f} s of wall time")


def time_pages(folder: Path) -> None:
    """Print what figures and report take as commands, from their start to their end."""
    for command in ("figures", "report"):
        words = [sys.executable, "-m", "birthmark", command, str(folder)]
        with tempfile.TemporaryDirectory() as out:
            to = ["--out", str(Path(out, command))]
            begin = time.perf_counter()
            started = subprocess.Popen([*words, *to], stdout=subprocess.DEVNULL)
            _, status, used = os.wait4(started.pid, 0)
            wall = time.perf_counter() - begin
            started.returncode = os.waitstatus_to_exitcode(status)
        assert started.returncode == 0, command
        print(
            f"  {f'birthmark {command}':34} {used.ru_utime + used.ru_stime:7.3f} s of "
            f"processor, {wall:.3f} s of wall time, at most {used.ru_maxrss / 1024:.0f}"
            " MB in a process"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--replicas", type=int, default=5)
    parser.add_argument("--examples", type=int, default=None, help="a class")
    parser.add_argument("--store", type=Path, help="one that is there")
    chosen = parser.parse_args()
    if chosen.store:
        time_reading(chosen.store)
        time_pages(chosen.store)
        sys.exit()
    common = RunSpec(
        data={"name": "digits", "examples_per_class": chosen.examples},
        network={"widths": [chosen.width] * 2},
        training={"epochs": chosen.epochs},
        run={"replicas": chosen.replicas},
    )
    grid = [common.with_settings({"run.seed": n}) for n in range(chosen.runs)]
    with tempfile.TemporaryDirectory() as made:
        time_sweep(grid, Path(made) / "runs")
        time_reading(Path(made) / "runs")
        time_pages(Path(made) / "runs")
