"""A run that is followed: the records of the store, for the cost of what is new."""

import contextlib

import numpy as np
import pytest
import xarray as xr

import pages_store
import store_writer as writer
from birthmark.errors import StoreError
from birthmark.shapes import StepMetrics
from birthmark.store import RunDescription, open_store
from birthmark.store.segments import StoredTable


def writer_metrics(records):
    return [name for name in records if "layer" not in records[name].dims]


def append(run, epoch, travelled=0.0, *, measured=True):
    """An epoch with its measurements, flushed."""
    run.append_metrics(writer.metrics(epoch))
    if measured:
        binned = writer.distributions(epoch) if epoch % 4 == 0 else None
        scalars = writer.scalars(epoch, travelled)
        run.append_measurements(epoch, epoch * writer.STEPS, scalars, binned)
    run.flush()


@pytest.fixture
def begun(tmp_path):
    run = open_store(tmp_path, create=True).start_run(writer.make_spec())
    run.load_checkpoint()
    run.save_manifest(writer.MANIFEST)
    with contextlib.closing(run):
        yield run


def test_a_followed_run_has_the_records_of_the_store_whatever_its_writer_does(
    begun, tmp_path
):
    store, key = open_store(tmp_path), begun.run_key
    followed = store.follow(key)
    few = store.follow(key, ["path_length", "spectral_distance"])
    seen = []

    def look():
        now = followed.records()
        expected = store.records(key, distributions=False)
        xr.testing.assert_identical(now, expected)
        some = few.records()
        for name in some:
            xr.testing.assert_identical(some[name], expected[name])
        measured = {*expected} - {"bound"} - {*writer_metrics(expected)}
        assert measured & {*some} == measured & {"path_length", "spectral_distance"}
        seen.append((now, now.copy(deep=True)))
        return now

    assert look().sizes["step"] == 0
    for epoch in range(7):
        append(begun, epoch, measured=epoch not in (2, 3))
        look()
    begun.rewind(4)
    assert look().sizes["step"] == 5
    append(begun, 5, travelled=7.0)
    append(begun, 6, travelled=7.0)  # a file of the name of one that was read
    assert (look()["path_length"][-2:] == 7.0).all()
    begun.rewind(-1)
    assert look().sizes["step"] == 0
    for epoch in range(3):
        append(begun, epoch, travelled=9.0)
    look()
    begun.finish(writer.MANIFEST | {"wall_time_s": 99.0})
    last = look()
    assert last.attrs["state"] == "done" and last.attrs["wall_time_s"] == 99.0
    for given, copy in seen:  # what was given before stays as it was
        xr.testing.assert_identical(given, copy)


def test_a_look_reads_what_is_new_however_long_the_run_is(tmp_path, monkeypatch):
    spec = pages_store.make_spec(epochs=10_000)
    store = open_store(tmp_path, create=True)
    rows, plain = [], StoredTable.read

    def counted(self, columns=None):
        found = plain(self, columns)
        rows.append(len(found))
        return found

    monkeypatch.setattr(StoredTable, "read", counted)
    with contextlib.closing(store.start_run(spec)) as run:
        run.load_checkpoint()
        followed, others = store.follow(spec.run_key), store.follow(spec.run_key)
        for epoch in range(240):  # two minutes of a page that looks twice a second
            pages_store.append(run, spec, epoch)
            run.flush()
            rows.clear()
            assert followed.records().sizes["step"] == epoch + 1
            assert rows == [2, 6]  # replicas; replicas by layers
            if epoch % 50 == 49:  # and one who looks seldom
                others.records()
                assert rows == [2, 6, 100, 300]
        rows.clear()
        followed.records()
        assert rows == []
        expected = store.records(spec.run_key, distributions=False)
        xr.testing.assert_identical(followed.records(), expected)


def test_a_segment_that_is_lost_or_damaged_is_missed(begun):
    store, key = open_store(begun.paths.folder.parent), begun.run_key
    for epoch in range(3):
        append(begun, epoch)
    followed, other = store.follow(key), store.follow(key)
    followed.records(), other.records()
    lost = begun.paths.folder / "layers-000001.parquet"
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(StoreError, match="layers-000001.parquet is missing"):
        followed.records()
    lost.write_bytes(content)
    newest = begun.paths.folder / "metrics-000002.parquet"
    newest.write_bytes(newest.read_bytes()[:-9] + b"another one")
    with pytest.raises(StoreError, match="metrics-000002.parquet is damaged"):
        other.records()


def test_metrics_that_come_late_or_go_are_nan_elsewhere(tmp_path):
    what = RunDescription("tracked", "mine", {"lr": 0.5})
    store = open_store(tmp_path, create=True)
    with contextlib.closing(store.start_run(what)) as run:
        followed = store.follow(what.run_key)
        for step, named in enumerate([{"a": 1.0}, {"a": 2.0, "b": 5.0}, {"b": 6.0}]):
            values = {name: np.array([value]) for name, value in named.items()}
            run.append_metrics(StepMetrics(step, values, epoch=step or None))
            run.flush()
            now = followed.records()
            xr.testing.assert_identical(now, store.records(what.run_key))
    np.testing.assert_array_equal(now["a"].values.ravel(), [1, 2, np.nan])
    np.testing.assert_array_equal(now["b"].values.ravel(), [np.nan, 5, 6])
