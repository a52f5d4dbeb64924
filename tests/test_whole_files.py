"""What a user names as output is written whole, and nothing else is ever replaced."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import store_writer as writer
from birthmark.errors import StoreError
from birthmark.store import check_target, export_store, open_store
from birthmark.store.files import replacing_folder
from birthmark.whole_files import replacing, write_output
from power_cuts import Disk
from store_writer import make_spec


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole_through_a_link_and_under_the_longest_name(tmp_path):
    long = tmp_path / ("x" * 251 + ".txt")  # 255 bytes, all that a name may have
    assert write_output(long, "a") == long
    assert write_output(str(long), b"b") == long
    assert long.read_bytes() == b"b"
    (tmp_path / "link").symlink_to(long.name)
    write_output(tmp_path / "link", "ü")
    assert (tmp_path / "link").is_symlink() and long.read_text("utf-8") == "ü"
    odd = tmp_path / os.fsdecode(b"\xff ")
    write_output(odd, "c")
    assert names(tmp_path) == sorted([long.name, "link", odd.name])


def test_what_breaks_off_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (path.read_text(), names(tmp_path)) == ("before", ["file"])


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for names of files")
def test_what_was_written_survives_a_loss_of_power(tmp_path, monkeypatch):
    folder = tmp_path / "out"
    folder.mkdir()
    disk = Disk(folder, monkeypatch)
    write_output(folder / "a", "whole")
    with replacing(folder / "b") as temporary:
        temporary.write_text("whole")
    write_output(folder / "c", "whole")
    disk.close()
    disk.cut(len(disk.changes))
    found = {path.name: path.read_text() for path in folder.iterdir()}
    assert found == dict.fromkeys("abc", "whole")


@pytest.fixture
def place(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("of mine")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "to-pipe").symlink_to("pipe")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("folder", "name a file in a folder that exists"),
        ("none/file", "name a file in a folder that exists"),
        ("file/under", "name a file in a folder that exists"),
        ("pipe", "no file"),
        ("to-pipe", "no file"),
        ("x" * 300, "too long"),
        ("nul\0", "null"),
        ("/dev/stdout", "no file"),
        ("/proc/self/anything", "No such file|may not be written"),
    ],
)
def test_no_other_thing_is_replaced(place, name, why):
    before = names(place)
    for write in (check_target, lambda path: write_output(path, "x")):
        with pytest.raises(StoreError, match=f"cannot write .*({why})") as caught:
            write(place / name)
        assert "\n" not in str(caught.value)
    if name in ("folder", "pipe", "to-pipe"):
        # also what came to lie there after the look
        with pytest.raises(OSError, match="no file"), replacing(place / name):
            raise AssertionError
    assert names(place) == before
    assert stat.S_ISFIFO((place / "pipe").stat().st_mode)


def test_the_file_that_standard_output_goes_to_is_not_replaced(tmp_path):
    script = (
        "from birthmark.whole_files import write_output\n"
        "print('said', flush=True)\n"
        "write_output('/dev/stdout', 'x')\n"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    with (tmp_path / "out").open("w") as out:
        found = subprocess.run(
            [sys.executable, "-c", script],
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
        )
    assert "cannot write /dev/stdout: what is there is no file" in found.stderr
    assert (tmp_path / "out").read_text() == "said\n"
    assert Path("/dev/stdout").is_symlink()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store")
    writer.write_run(path, make_spec())
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights")
    for seed in (0, 1):
        draws = np.random.default_rng(seed)
        np.savez(path / f"{seed}.npz", **{"0.weight": draws.normal(size=(9, 8))})
    (path / "net.py").write_text("import torch\nnet = torch.nn.Linear(64, 10)\n")
    return path


COMMANDS = {
    "explore": ["explore", "--out"],
    "report": ["report", "{store}", "--out"],
    "check --json": ["check", "{weights}/net.py:net", "--json"],
    "check --html": ["check", "{weights}/net.py:net", "--html"],
    "check --passport": ["check", "{weights}/net.py:net", "--passport"],
    "diff --json": ["diff", "{weights}/0.npz", "{weights}/1.npz", "--json"],
    "diff --html": ["diff", "{weights}/0.npz", "{weights}/1.npz", "--html"],
    "compare --json": ["compare", "--init", "zeros", "--json"],
    "export": ["export", "{store}"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_odd_places_before_any_work(
    birthmark, place, store, weights, command
):
    """Also a file of the store itself; nothing is printed, trained or read first."""
    key = make_spec().run_key
    given = [one.format(store=store, weights=weights) for one in COMMANDS[command]]
    of_run = names(store / key)
    ending = {"export": ".parquet", "report": ".html"}.get(command, "")
    (place / f"pipe{ending}").exists() or os.mkfifo(place / f"pipe{ending}")
    before = names(place)
    targets = [place / f"pipe{ending}", place / "none" / f"x{ending}"]
    targets += [place / ("x" * 300 + ending), store / key / f"manifest.json{ending}"]
    for target in targets:
        status, out, error = birthmark(*given, target)
        assert (status, out) == (2, ""), (target, out, error)
        assert error.startswith("birthmark: cannot write "), error
        assert len(error.splitlines()) == 1
    assert (names(place), names(store / key)) == (before, of_run)


@pytest.mark.parametrize("command", ["figures", "phase"])
def test_no_figure_is_drawn_where_none_can_be_written(birthmark, place, store, command):
    key = make_spec().run_key
    axes = ["-x", "lr", "-y", "widths"] if command == "phase" else []
    for target in (place / "file", place / "pipe", place / ("x" * 300), store / key):
        before = names(store / key)
        status, _, error = birthmark(command, store, *axes, "--out", target)
        assert status == 2 and len(error.splitlines()) == 1
        assert "cannot write" in error or "cannot make the folder" in error
        assert names(store / key) == before
    assert (place / "file").read_text() == "of mine"


def test_places_of_a_store_are_no_places_for_anything_else(store):
    for attempt in (
        lambda: open_store(store / make_spec().run_key, create=True),
        lambda: check_target(store / "birthmark-store.json"),
    ):
        with pytest.raises(StoreError, match="that is a place of the store itself"):
            attempt()


def test_a_folder_that_could_not_be_replaced_is_there_again(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("before")
    with (
        pytest.raises(StoreError, match="cannot write"),
        replacing_folder(tmp_path / "out", lambda folder: True),
    ):
        pass  # nothing was made that could get its name
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "file").read_text() == "before"


@pytest.mark.parametrize("what", ["notes inside", "link", "file", "folder"])
def test_an_export_deletes_no_folder_but_its_own(store, tmp_path, what):
    def export():
        return export_store(open_store(store), tmp_path / "out.zarr")

    (target,) = export()
    assert export() == [target]
    assert names(tmp_path / "out.zarr") == [target.name]
    if what == "notes inside":
        (target / "notes.txt").write_text("of mine")
    else:
        target.rename(tmp_path / "kept")
        if what == "link":
            target.symlink_to(tmp_path / "kept")
        elif what == "file":
            target.write_text("of mine")
        else:
            target.mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreError, match="was not written by an export"):
        export()
    assert sorted(tmp_path.rglob("*")) == before
