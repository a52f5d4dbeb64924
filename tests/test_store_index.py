"""The table of runs from its index is the table of the runs themselves."""

import shutil
import signal
import subprocess
import sys

import pandas as pd
import pytest

import store_writer as writer
from birthmark.store import index, list_runs, listing, open_store
from store_writer import make_spec


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "LEAST_RUNS", 3)
    monkeypatch.setattr("os.fsync", lambda file: None)
    for seed in range(4):
        lr = 0.1 * (1 + seed % 2)
        spec = make_spec(
            run={"seed": seed, "replicas": 2}, training={"lr": lr, "epochs": 11}
        )
        writer.write_run(tmp_path, spec)
    open_store(tmp_path).start_run(make_spec(run={"seed": 9})).close()
    return open_store(tmp_path)


def from_scratch(store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(index, "LEAST_RUNS", 10**9)
        return store.runs()


def test_it_says_what_the_runs_say_and_opens_none_that_is_done(store, monkeypatch):
    expected = from_scratch(store, monkeypatch)
    assert not (store.path / "index.parquet").exists()
    pd.testing.assert_frame_equal(store.runs(), expected)
    assert (store.path / "index.parquet").exists()
    opened = []
    row = type(store)._look_at
    monkeypatch.setattr(
        type(store), "_look_at", lambda self, key: opened.append(key) or row(self, key)
    )
    found = store.runs()
    pd.testing.assert_frame_equal(found, expected)
    assert len(opened) == 1  # the one that is not done
    assert found.dtypes["training.lr"] == "float64"
    few = store.runs(lr=0.2, state="done")
    expected = expected[(expected["training.lr"] == 0.2) & (expected.state == "done")]
    pd.testing.assert_frame_equal(few, expected.reset_index(drop=True))
    assert len(few) == 2 and store.runs(lr=0.2, loss="none").empty


def test_what_changes_is_noticed_and_a_damaged_index_made_again(store, monkeypatch):
    whole = store.runs()
    writer.write_run(store.path, make_spec(run={"seed": 9}))
    assert store.runs()["state"].tolist() == ["done"] * 5
    file = store.path / "index.parquet"
    for harm in (
        lambda b: b[:-30],
        lambda b: bytes([b[50] ^ 8]).join([b[:50], b[51:]]),
    ):
        file.write_bytes(harm(file.read_bytes()))
        assert len(store.runs()) == len(whole)
    damaged = store.path / whole["run_key"][0] / "spec.toml"
    damaged.unlink()
    assert sorted(store.runs()["state"]) == ["damaged"] + ["done"] * 4


@pytest.mark.parametrize("least", [1, 64])
def test_the_light_list_says_what_the_table_says(store, monkeypatch, least):
    """With an index and without."""
    monkeypatch.setattr(listing, "LEAST_RUNS", least)
    listed, table = list_runs(store.path), store.runs().set_index("run_key")
    assert [row["run_key"] for row in listed] == list(table.index)
    for row in listed:
        for name in ("state", "epoch", "data.name", "training.lr", "run.replicas"):
            value = table.loc[row["run_key"], name]
            assert row[name] == (None if pd.isna(value) else value), name
        assert (
            tuple(row["network.widths"]) == table.loc[row["run_key"]]["network.widths"]
        )
        assert row["written"] == table.loc[row["run_key"], "written"].floor("us")


@pytest.mark.parametrize("least", [1, 64])
def test_the_light_list_loads_few_packages(store, least):
    store.runs()
    heavy = {"pandas", "xarray"}
    if least > 1:
        heavy |= {"numpy", "pyarrow", "pydantic"}
    program = (
        "import sys; from pathlib import Path; from birthmark.store import layout; "
        f"layout.LEAST_RUNS = {least}; from birthmark.store import list_runs; "
        f"list_runs(Path({str(store.path)!r})); "
        f"print({heavy!r} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.stdout.strip() == b"set()", done.stderr


def test_the_light_list_sees_a_changed_spec(store, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(store.path, copy)
    spec = sorted(copy.glob("*/spec.toml"))[0]
    spec.write_text(spec.read_text().replace("lr = ", "lr = 1"))
    row = next(r for r in list_runs(copy) if r["run_key"] == spec.parent.name)
    assert row["state"] == "damaged" and str(spec) in row["problem"]


DIES = """
import os, signal, sys
from pathlib import Path
from birthmark.store.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("name", ["birthmark-store.json", "index.parquet"])
def test_what_a_killed_writer_left_beside_the_runs_goes_with_the_next(store, name):
    (store.path / name).unlink(missing_ok=True)
    killed = subprocess.run([sys.executable, "-c", DIES, str(store.path / name)])
    assert killed.returncode == -signal.SIGKILL
    assert len(list(store.path.glob(f".{name}.*.tmp"))) == 1
    other = store.path / ".of-the-user.tmp"
    other.touch()
    open_store(store.path, create=True).runs()
    assert (store.path / name).exists()
    assert list(store.path.glob(".*")) == [other]
