"""Disks that are full, folders that cannot be written, clocks that go back."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import store_writer as writer
from birthmark.errors import StoreError
from birthmark.shapes import StepMetrics
from birthmark.store import RunDescription, Store, index, open_store, verify_store
from store_writer import make_spec

SPEC = make_spec()
TRACKED = RunDescription("tracked", "mine", {"lr": 0.1}, (0,), start="ab" * 32)


def write_in_little_room(folder: Path) -> None:
    """In a mount namespace: fill ever larger disks, then make room and go on."""

    def mount(*options: str) -> None:
        subprocess.run(["mount", *options, str(folder)], check=True)

    found = []
    for pages in (1, 2, 3, 5, 8, 12, 16, 20, 25, 30, 36, 42):
        mount("-t", "tmpfs", "-o", f"size={4 * pages}k", "tmpfs")
        told = ""
        try:
            writer.write_run(folder / "runs", SPEC)
        except StoreError as error:
            told = str(error)
        mount("-o", "remount,size=8m")
        writer.write_run(folder / "runs", SPEC)
        run = folder / "runs" / SPEC.run_key
        files = {path.name: path.read_bytes().hex() for path in run.iterdir()}
        mount("-o", "remount,ro")
        read_only = []
        for spec in (SPEC, make_spec(run={"seed": 1})):
            try:
                writer.write_run(folder / "runs", spec)
                read_only.append(str(len(open_store(folder / "runs").runs())))
            except StoreError as error:
                read_only.append(str(error))
        found.append({"told": told, "files": files, "read_only": read_only})
        subprocess.run(["umount", str(folder)], check=True)
    print(json.dumps(found))


def test_a_full_disk_is_named_and_the_run_goes_on_where_there_is_room(
    tmp_path: Path,
) -> None:
    namespace = ["unshare", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*namespace, "true"]).returncode:
        pytest.skip("needs mounts of its own")
    folder = tmp_path / "disk"
    folder.mkdir()
    code = "import sys, pathlib, test_store_fire as t\n"
    code += "t.write_in_little_room(pathlib.Path(sys.argv[1]))"
    done = subprocess.run(
        [*namespace, sys.executable, "-c", code, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(done.stdout)
    writer.write_run(tmp_path / "whole", SPEC)
    whole = tmp_path / "whole" / SPEC.run_key
    expected = {path.name: path.read_bytes().hex() for path in whole.iterdir()}
    for one in found:
        assert one["files"] == expected
        same, other = one["read_only"]
        assert "Read-only file system" in same and "Read-only file system" in other
    told = [one["told"] for one in found]
    assert all(text.count("\n") == 0 and "No space left" in text for text in told[:6])
    named = {text.split(": ")[0].rpartition("/")[2].partition("-")[0] for text in told}
    assert {"layers", "weights"} <= named and len(named) >= 4, named
    assert all(str(folder) in text for text in told if text)


def write_tracked(path: Path) -> Store:
    store = open_store(path, create=True)
    run = store.start_run(TRACKED)
    run.save_start({"w": np.arange(12.0)}, {"names": ["w"]})
    for step in range(3):
        run.append_metrics(StepMetrics(step, {"loss": np.array([1.0 / (1 + step)])}))
    run.finish({"wall_time_s": 1.0})
    return store


def harms(path: Path) -> dict[str, Callable[[], Any]]:
    """Gone; cut in its header, its middle and its end; one bit flipped in each."""
    whole = path.read_bytes()

    def flipped(at: int) -> Callable[[], Any]:
        content = bytearray(whole)
        content[at] ^= 16
        return lambda: path.write_bytes(content)

    places = {"header": 5, "middle": len(whole) // 2, "end": len(whole) - 3}
    found: dict[str, Callable[[], Any]] = {"gone": path.unlink}
    for name, at in places.items():
        found[f"cut at its {name}"] = lambda at=at: path.write_bytes(whole[:at])
        found[f"a bit of its {name}"] = flipped(at)
    return found


def test_each_harm_of_each_file_is_named_in_one_line(
    tmp_path: Path, birthmark: Callable[..., tuple[int, str, str]]
) -> None:
    """Of a run of a spec and of a tracked run; commands go on with the other one."""
    store = write_tracked(tmp_path / "runs")
    writer.write_run(store.path, SPEC)
    out, place = tmp_path / "out.csv", ("--store", store.path)
    assert birthmark("export", out, *place)[0] == 0
    rows = pd.read_csv(out).groupby("run_key").size()
    for key in (TRACKED.run_key, SPEC.run_key):
        for path in sorted((store.path / key).iterdir()):
            content = path.read_bytes()
            for what, harm in harms(path).items() if content else ():
                harm()
                (damage,) = verify_store(store)
                assert damage.run_key == key, (path.name, what)
                assert f"{path.name} is " in damage.problem, (what, damage.problem)
                assert "\n" not in damage.problem
                path.write_bytes(content)
            if content:
                harm()
                status, told, err = birthmark("verify", *place)
                assert (status, err) == (1, "") and path.name in told
                assert birthmark("status", *place)[::2] == (0, ""), path.name
                assert birthmark("export", out, *place)[::2] == (0, ""), path.name
                left = pd.read_csv(out).groupby("run_key").size().to_dict()
                # what the table needs is whole, or the run is left out
                assert left in (rows.to_dict(), rows.drop(key).to_dict()), path.name
                path.write_bytes(content)
    assert verify_store(store) == []


def test_a_clock_that_is_set_back_hides_no_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index asks whether a time is another one, never which is later."""
    monkeypatch.setattr(index, "LEAST_RUNS", 1)
    writer.write_run(tmp_path, SPEC)
    store = open_store(tmp_path)
    assert store.runs()["state"].tolist() == ["done"]
    folder = tmp_path / SPEC.run_key
    (folder / "spec.toml").unlink()
    os.utime(folder, (0, 0))
    assert store.runs()["state"].tolist() == ["damaged"]
