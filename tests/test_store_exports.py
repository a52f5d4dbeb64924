"""What is exported is read by the libraries it is for, with every number in it."""

import os

import duckdb
import fsspec
import h5netcdf
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import xarray as xr
import zarr

import birthmark as bm
import store_writer as writer
from birthmark.errors import StoreError
from birthmark.store import copy_run, export_store, open_store, verify_store
from store_writer import make_spec


def train(track, lr, seed):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.SGD(model.parameters(), lr)
    tracker = track(model, optimizer)
    for _ in range(5):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).pow(2).mean()
        loss.backward()
        optimizer.step()
        tracker.log(loss=loss)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Runs of a spec, of a sweep of the user's own, and of a loop."""
    path = tmp_path_factory.mktemp("store")
    for lr in (0.1, 0.2):
        spec = make_spec(training={"lr": lr, "epochs": writer.EPOCHS})
        writer.write_run(path, spec)
    bm.sweep(train, {"lr": [0.3], "seed": [0, 1]}, store=path)
    fields = {"opt": {"name": "sgd"}, "flag": True, "lr": "auto", "layers": [1, 2.5]}
    with bm.Tracker(torch.nn.Linear(2, 2), store=path, fields=fields) as tracker:
        tracker.log({"loss/val": 1.5, "step/s": 2, "loss": 3})
        tracker.step()
    fields = {"opt": {"name": "adam"}, "flag": 3, "loss": 0, "layer": "x"}
    with bm.Tracker(torch.nn.Linear(2, 2), store=path, fields=fields) as tracker:
        tracker.log({"loss.val": 2.5, "loss/val": 1})
        tracker.step()
    return open_store(path)


def assert_equal(found, expected):
    assert dict(found.sizes) == dict(expected.sizes)
    names = {name: name for name in expected.variables}
    if "loss/val" in names:  # a slash would make a group of it
        names["loss/val"] = "loss.val_" if "loss.val" in names else "loss.val"
        names["step/s"] = "step.s"
    assert set(found.variables) == {names[name] for name in expected.variables}
    for name in expected.variables:
        ours, theirs = expected[name].values, found[names[name]].values
        if ours.dtype.kind in "OU":
            assert [*map(str, theirs.flat)] == [*map(str, ours.flat)], name
        else:
            np.testing.assert_array_equal(theirs, ours, err_msg=name)


def test_netcdf_is_read_by_xarray_and_by_h5netcdf(store, tmp_path):
    paths = export_store(store, tmp_path / "out.nc")
    assert len(paths) == 6
    for path in paths:
        expected = store.records(path.stem)
        with xr.open_dataset(path, engine="h5netcdf") as found:
            assert_equal(found.load(), expected)
        with h5netcdf.File(path) as file:
            assert file.attrs["run_key"] == path.stem
            assert file.dimensions["step"].size == expected.sizes["step"]


@pytest.mark.parametrize("ending", ["parquet", "csv", "nc", "zarr"])
def test_an_export_that_breaks_off_leaves_what_was_there(
    store, tmp_path, monkeypatch, ending
):
    out = tmp_path / f"out.{ending}"
    export_store(store, out)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def full(self, target, *_, **__):
        if ending == "zarr":
            target.mkdir()
        else:
            (target.write if ending == "parquet" else target.write_bytes)(b"half")
        raise OSError(28, "No space left on device")

    writers = {
        "parquet": (pq, "write_table"),
        "csv": (pd.DataFrame, "to_csv"),
        "nc": (xr.Dataset, "to_netcdf"),
        "zarr": (xr.Dataset, "to_zarr"),
    }
    monkeypatch.setattr(*writers[ending], full)
    with pytest.raises(StoreError, match="No space left"):
        export_store(store, out)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert not [p for p in tmp_path.rglob("*.tmp*")]


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_table_takes_any_name_and_the_place_of_files_alone(store, tmp_path, ending):
    os.mkfifo(tmp_path / f"pipe.{ending}")
    with pytest.raises(StoreError, match="what is there is no file"):
        export_store(store, tmp_path / f"pipe.{ending}")
    assert (tmp_path / f"pipe.{ending}").is_fifo()
    (table,) = export_store(store, tmp_path / f"\udcff.{ending}")  # not UTF-8
    assert table.stat().st_size


def test_zarr_is_read_by_xarray_and_by_zarr(store, tmp_path):
    for path in export_store(store, tmp_path / "out.zarr"):
        expected = store.records(path.stem)
        with xr.open_zarr(path) as found:
            assert_equal(found.load(), expected)
        group = zarr.open_group(path, mode="r")
        assert group.attrs["run_key"] == path.stem
        np.testing.assert_array_equal(group["step"][:], expected["step"])
        # a chunk left out since all of it is 0 is whatever the reader makes of it
        for _, array in group.arrays():
            assert array.nchunks == array.nchunks_initialized, array.path


def test_a_table_is_read_by_arrow_and_pandas(store, tmp_path):
    (table,) = export_store(store, tmp_path / "out.parquet")
    frame = pq.read_table(table).to_pandas()
    written = frame[frame["training.lr"].notna()]
    per_run = (writer.EPOCHS + 1) * writer.R * len(writer.LAYERS)
    assert len(written) == 2 * per_run
    assert set(written["training.lr"]) == {0.1, 0.2}
    key = written["run_key"].iloc[0]
    records = store.records(key)
    one = frame[(frame.run_key == key) & (frame.replica == 1) & (frame.epoch == 4)]
    assert one["layer"].tolist() == writer.LAYERS
    at = {"replica": 1, "step": 4 * writer.STEPS}
    expected = records["deviation_std"].sel(at)
    assert one["deviation_std"].tolist() == expected.values.tolist()
    assert one["test_loss"].iloc[0] == float(records["test_loss"].sel(at))
    (table,) = export_store(store, tmp_path / "out.csv")
    both = ["step", "train_loss"]
    pd.testing.assert_frame_equal(pd.read_csv(table)[both], frame[both])
    with pytest.raises(StoreError, match="no ending that is known"):
        export_store(store, tmp_path / "out.xlsx")


def test_fields_of_several_kinds_are_columns_of_one(store, tmp_path):
    """Numbers where all are; texts where one is; missing where a run has none."""
    (table,) = export_store(store, tmp_path / "out.parquet")
    frame = pq.read_table(table).to_pandas()
    runs = store.runs().set_index("run_key")
    found = frame.groupby("run_key").first()
    assert [n for n in frame if frame[n].dtype == object] == []
    expected = {
        "lr": ["0.3", "auto"],
        "flag": ["3", "True"],
        "opt.name": ["adam", "sgd"],
        "layers": ["1-2.5"],
        "field.loss": [0],
        "field.layer": ["x"],
        "training.lr": [0.1, 0.2],
    }
    for name, column in expected.items():
        assert sorted(found[name].dropna().unique()) == column
        has = runs[name.removeprefix("field.")].notna()
        assert found[name].notna().equals(has[found.index]), name
    rows = duckdb.sql(f"select count(*) from '{table}' where \"opt.name\" is null")
    loops = runs.index[runs["name"] == "Linear"]
    assert rows.fetchall() == [((~frame["run_key"].isin(loops)).sum(),)]
    (table,) = export_store(store, tmp_path / "out.csv")
    again = pd.read_csv(table, dtype=frame.dtypes.to_dict())[[*expected]]
    pd.testing.assert_frame_equal(again, frame[[*expected]], check_dtype=False)


def test_duckdb_answers_questions_about_the_runs(store):
    found = store.sql(
        'select "training.lr" as lr, list_sum("network.widths") as units from runs '
        "where kind = 'spec' order by lr desc"
    )
    assert found["lr"].tolist() == [0.2, 0.1]
    assert found["units"].tolist() == [sum(make_spec().network.widths)] * 2
    (count,) = store.sql("select count(*) from runs where kind = 'tracked'").iloc[0]
    assert count == 4
    with pytest.raises(StoreError, match="fails: Binder Error") as caught:
        store.sql("select no_such_column from runs")
    assert "\n" not in str(caught.value)


def test_finished_runs_are_copied_to_any_url(store, tmp_path):
    """What was cut short in the first copy is there after the second."""
    key = store.runs(kind="spec")["run_key"][0]
    for url in ("memory://bucket/runs", f"file://{tmp_path}/copies"):
        system, root = fsspec.url_to_fs(url)
        assert copy_run(store, key, url)
        assert not copy_run(store, key, url)
        system.rm(f"{root}/{key}/done")
        system.pipe(f"{root}/{key}/schema.json", b"half")
        assert copy_run(store, key, url)
        for path in (store.path / key).iterdir():
            assert system.cat(f"{root}/{key}/{path.name}") == path.read_bytes()
    copies = open_store(tmp_path / "copies")
    assert verify_store(copies) == []
    xr.testing.assert_identical(copies.records(key), store.records(key))
    with pytest.raises(StoreError, match="no URL that fsspec knows"):
        copy_run(store, key, "nowhere://bucket")
    with pytest.raises(StoreError, match=f"cannot copy run {key} to file:///proc"):
        copy_run(store, key, "file:///proc/copies")
