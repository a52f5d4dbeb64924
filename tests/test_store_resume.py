"""A writer killed at any moment: readers see a beginning, a resume the same end."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr

import store_writer as writer
from birthmark.errors import StoreError
from birthmark.store import RunFolder, Store, open_store
from birthmark.store.segments import join_segments
from faults import killed_at
from kills import start
from power_cuts import Disk
from store_writer import EPOCHS, STEPS, make_spec

SPEC = make_spec()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("undisturbed")
    writer.write_run(path, SPEC)
    return open_store(path)


def file_names(store: Store) -> set[str]:
    return {path.name for path in (store.path / SPEC.run_key).iterdir()}


def assert_same(store: Store, whole: Store) -> None:
    xr.testing.assert_identical(
        store.records(SPEC.run_key), whole.records(SPEC.run_key)
    )
    assert file_names(store) == file_names(whole)
    for epoch in whole.weights_epochs(SPEC.run_key):
        for name, layer in whole.weights(SPEC.run_key, epoch).items():
            read = store.weights(SPEC.run_key, epoch)[name]
            np.testing.assert_array_equal(read.w, layer.w)


def assert_beginning(store: Store, whole: xr.Dataset) -> int:
    """That what is read is the beginning of the whole; how many epochs it has."""
    records = store.records(SPEC.run_key)
    num_epochs = records.sizes["step"]
    steps = records["step"].to_numpy()
    expected = whole.sel(step=steps)
    for name in set(records.data_vars) - {"nonfinite_step"}:
        variable = expected[name]
        if "distribution_step" in variable.dims:
            variable = variable.sel(distribution_step=slice(0, steps[-1]))
        xr.testing.assert_identical(records[name], variable)
    if num_epochs:
        assert set(records.data_vars) == set(whole.data_vars)
    return num_epochs


def has_begun(path: Path) -> bool:
    return (path / SPEC.run_key / "spec.toml").exists()


def kill_before_each(
    changes: Iterable[int], path: Path, undisturbed: Store
) -> set[int]:
    """Kill a writer before a change of files, and once more while it puts in order.

    Returns how many epochs were read in between, in all of the kills.
    """
    whole, seen = undisturbed.records(SPEC.run_key), set()
    for change in changes:
        store = path / str(change)
        process = start(killed_at, change, writer.write_run, store, SPEC)
        process.join()
        if process.exitcode == 0:
            return seen
        assert process.exitcode == -9
        if has_begun(store):
            seen.add(assert_beginning(open_store(store), whole))
        again = start(killed_at, 1 + change % 4, writer.write_run, store, SPEC)
        again.join()
        if has_begun(store):
            assert_beginning(open_store(store), whole)
        writer.write_run(store, SPEC)
        assert_same(open_store(store), undisturbed)
    return seen


def test_killed_before_a_change_of_a_file_it_goes_on_to_the_same_end(
    undisturbed: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda file: None)
    seen = kill_before_each(range(3, 200, 8), tmp_path, undisturbed)
    assert len(seen) >= 3


@pytest.mark.crash
def test_killed_before_any_change_of_a_file_it_goes_on_to_the_same_end(
    undisturbed: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda file: None)
    seen = kill_before_each(range(1, 200), tmp_path, undisturbed)
    assert seen == {0, 1, 5, 9, 12}  # checkpoints at 0, 4, 8; the end


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for names of files")
def test_a_file_is_on_the_disk_before_it_has_its_name(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(file: int) -> None:
        events.append(f"sync {Path(f'/proc/self/fd/{file}').readlink().name}")
        fsync(file)

    def note_replace(path: Path, target: Path) -> Path:
        events.append(f"rename {path.name} to {target.name}")
        return replace(path, target)

    monkeypatch.setattr("os.fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    run.append_metrics(writer.metrics(6))
    run.save_checkpoint({}, {})
    expected = [f"sync {run.run_key}"]  # what metrics and checkpoint count on
    for name in ("metrics-000006.parquet", "checkpoint.safetensors"):
        expected += [f"sync .{name}.*.tmp", f"rename .{name}.*.tmp to {name}"]
        expected += [f"sync {run.run_key}"]
    assert [re.sub(r"\.[0-9a-f]{32}\.", ".*.", event) for event in events] == expected


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for names of files")
def test_what_is_said_done_survives_a_loss_of_power_and_the_rest_goes_on(
    undisturbed: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    disk = Disk(store, monkeypatch)
    writer.write_run(store, SPEC)
    disk.close()
    monkeypatch.setattr("os.fsync", lambda file: None)
    whole, reached = undisturbed.records(SPEC.run_key), []
    for stem in ("metrics", "checkpoint", "contents", "done"):
        for count in [*disk.cuts_after(stem)][-2:]:
            disk.cut(count)
            reached.append(assert_beginning(open_store(store), whole))
            writer.write_run(store, SPEC)
            assert_same(open_store(store), undisturbed)
    assert set(reached) == {5, 9, 12}
    disk.cut(len(disk.changes))
    assert open_store(store).is_done(SPEC.run_key)
    assert_same(open_store(store), undisturbed)


def test_killed_at_random_moments_it_comes_to_the_same_end(
    undisturbed: Store, tmp_path: Path
) -> None:
    whole = undisturbed.records(SPEC.run_key)
    rng = np.random.default_rng()
    killed = 0
    while killed < 5:
        process = start(writer.write_run, tmp_path, SPEC, pause=0.01)
        process.join(timeout=rng.uniform(0, 0.25))
        process.kill()
        process.join()
        killed += process.exitcode == -9
        if has_begun(tmp_path):
            assert_beginning(open_store(tmp_path), whole)
        if process.exitcode == 0:
            assert_same(open_store(tmp_path), undisturbed)
            tmp_path = tmp_path / "again"
    writer.write_run(tmp_path, SPEC)
    assert_same(open_store(tmp_path), undisturbed)


def test_a_reader_beside_a_writer_sees_each_row_once(
    undisturbed: Store, tmp_path: Path
) -> None:
    whole = undisturbed.records(SPEC.run_key)
    process = start(writer.write_run, tmp_path, SPEC, pause=0.03)
    seen = set()
    while process.is_alive():
        if has_begun(tmp_path):
            seen.add(assert_beginning(open_store(tmp_path), whole))
        else:
            time.sleep(0.005)
    assert process.exitcode == 0
    assert len(seen) >= 2
    assert_same(open_store(tmp_path), undisturbed)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """With a checkpoint at epoch 2, and flushed records and weights up to epoch 5."""
    run = open_store(tmp_path, create=True).start_run(SPEC)
    run.load_checkpoint()
    for epoch in range(6):
        run.append_metrics(writer.metrics(epoch))
        run.append_measurements(
            epoch, epoch * STEPS, writer.scalars(epoch), writer.distributions(epoch)
        )
        run.save_weights(epoch, writer.weights(epoch))
        if epoch in (2, 5):
            run.save_checkpoint({"at": np.array(epoch)}, {"epoch": epoch})
            if epoch == 2:
                kept = run.paths.checkpoint.read_bytes()
    run.paths.checkpoint.write_bytes(kept)
    return run


def test_resuming_drops_what_is_newer_than_the_checkpoint(
    run: RunFolder, tmp_path: Path
) -> None:
    run.close()
    again = open_store(tmp_path, create=True).start_run(SPEC)
    arrays, facts = again.load_checkpoint() or ({}, {})
    assert arrays["at"] == 2 and arrays["at"].shape == () and facts == {"epoch": 2}
    store = open_store(tmp_path)
    records = store.records(SPEC.run_key)
    assert records["epoch"].to_numpy().tolist() == [0, 1, 2]
    assert records["distribution_epoch"].to_numpy().tolist() == [0, 1, 2]
    assert store.weights_epochs(SPEC.run_key) == [0, 1, 2]
    again.append_metrics(writer.metrics(3))


def test_a_segment_that_reaches_beyond_the_checkpoint_is_cut(run: RunFolder) -> None:
    checkpoint = run.paths.checkpoint.read_bytes()
    for table in ("layers", "distributions", "metrics"):
        join_segments(run.paths.folder, table)  # 0 ... 5: killed while it finished
    run.paths.checkpoint.write_bytes(checkpoint)
    run.load_checkpoint()
    records = open_store(run.paths.folder.parent).records(run.run_key)
    assert records["epoch"].to_numpy().tolist() == [0, 1, 2]
    assert records["deviation_std"].notnull().all()
    assert records.sizes["distribution_step"] == 3


@pytest.mark.parametrize("opening", range(1, 7))
@pytest.mark.parametrize("act", ["joins", "drops"])
def test_a_writer_that_comes_between_two_openings_does_not_tear_the_records(
    run: RunFolder,
    undisturbed: Store,
    monkeypatch: pytest.MonkeyPatch,
    opening: int,
    act: str,
) -> None:
    store = open_store(run.paths.folder.parent)
    whole = store.records(SPEC.run_key)
    openings = 0

    class ParquetFile(pq.ParquetFile):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            nonlocal openings
            openings += 1
            if openings == opening:
                run.finish({}) if act == "joins" else run.load_checkpoint()
            super().__init__(*arguments, **options)

    monkeypatch.setattr("pyarrow.parquet.ParquetFile", ParquetFile)
    num_epochs = assert_beginning(store, whole)
    assert openings >= opening
    assert num_epochs == (3 if act == "drops" else 6)


@pytest.mark.parametrize("removal", range(1, 7))
def test_interrupted_while_it_drops_it_leaves_a_beginning(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, removal: int
) -> None:
    store = open_store(run.paths.folder.parent)
    whole = store.records(SPEC.run_key)
    kept = run.paths.checkpoint.read_bytes()
    for epoch in (6, 7):
        run.append_metrics(writer.metrics(epoch))
        run.append_measurements(
            epoch, epoch * STEPS, writer.scalars(epoch), writer.distributions(epoch)
        )
        run.save_checkpoint({}, {})
    whole = store.records(SPEC.run_key)
    run.paths.checkpoint.write_bytes(kept)
    removals, unlink = 0, Path.unlink

    def interrupted(path: Path, missing_ok: bool = False) -> None:
        nonlocal removals
        removals += path.suffix == ".parquet"
        if removals == removal:
            raise KeyboardInterrupt
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.load_checkpoint()
    assert assert_beginning(store, whole) >= 3
    run.load_checkpoint()
    assert assert_beginning(store, whole) == 3


def test_without_a_checkpoint_nothing_is_kept(run: RunFolder, tmp_path: Path) -> None:
    run.paths.checkpoint.unlink()
    assert run.load_checkpoint() is None
    run.close()
    assert file_names(open_store(tmp_path)) == {"spec.toml"}


def test_the_checkpoint_in_memory_or_on_disk_is_the_same(run: RunFolder) -> None:
    run.append_metrics(writer.metrics(6))
    saved = run.load_checkpoint()
    assert saved is not None and saved[1] == {"epoch": 2}
    run.append_metrics(writer.metrics(3))
    run.save_checkpoint({}, {})
    records = open_store(run.paths.folder.parent).records(run.run_key)
    assert records["epoch"].to_numpy().tolist() == [0, 1, 2, 3]


def test_appending_to_a_begun_run_without_its_checkpoint_is_refused(
    run: RunFolder, tmp_path: Path
) -> None:
    run.close()
    again = open_store(tmp_path, create=True).start_run(SPEC)
    with pytest.raises(ValueError, match="load the checkpoint before"):
        again.append_metrics(writer.metrics(0))


def test_temporary_files_are_ignored_and_go_with_the_next_writer(
    run: RunFolder, tmp_path: Path
) -> None:
    stray = run.paths.folder / ".layers-000009.parquet.4711.tmp"
    stray.write_bytes(b"half a file")
    assert open_store(tmp_path).records(SPEC.run_key).sizes["step"] == 6
    run.close()
    open_store(tmp_path, create=True).start_run(SPEC)
    assert not stray.exists()


def test_a_run_that_is_done_stays_as_it_is(undisturbed: Store) -> None:
    folder = undisturbed.path / SPEC.run_key
    before = {path: path.read_bytes() for path in folder.iterdir()}
    run = undisturbed.start_run(SPEC)
    assert run.is_done
    attempts: list[Callable[[], Any]] = [
        run.load_checkpoint,
        lambda: run.save_checkpoint({}, {}),
        lambda: run.save_weights(0, writer.weights(1)),
        lambda: run.save_manifest({}),
        lambda: run.finish({}),
        run.stop,
    ]
    for attempt in attempts:
        with pytest.raises(StoreError, match="is done and stays as it is"):
            attempt()
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


def test_stopping_on_purpose_shows_until_the_writer_is_back(
    run: RunFolder, tmp_path: Path
) -> None:
    store = open_store(tmp_path)
    assert store.runs()["state"].tolist() == ["running"]
    run.stop()
    assert store.runs()["state"].tolist() == ["stopped"]
    again = store.start_run(SPEC)
    assert store.runs()["state"].tolist() == ["running"]
    again.load_checkpoint()
    for epoch in range(3, EPOCHS + 1):
        again.append_metrics(writer.metrics(epoch))
    again.finish({})
    assert store.runs()["state"].tolist() == ["done"]
