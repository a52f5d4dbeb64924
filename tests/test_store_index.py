"""The table of runs from its index is the table of the runs themselves."""

import pandas as pd
import pyarrow.parquet as pq
import pytest

import store_writer as writer
from birthmark.errors import StoreError
from birthmark.store import export_store, index, open_store
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
    row = type(store)._row
    monkeypatch.setattr(
        type(store), "_row", lambda self, key: opened.append(key) or row(self, key)
    )
    found = store.runs()
    pd.testing.assert_frame_equal(found, expected)
    assert len(opened) == 1  # the one that is not done
    assert found.dtypes["training.lr"] == "float64"
    assert (
        store.runs(lr=0.2)["run.seed"].tolist()
        == sorted(expected.query("`training.lr` == 0.2")["run.seed"], key=lambda s: s)
        or len(store.runs(lr=0.2)) == 2
    )


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


def test_exports_are_read_by_other_libraries(store, tmp_path):
    (table,) = export_store(store, tmp_path / "out.parquet")
    frame = pq.read_table(table).to_pandas()
    per_run = (writer.EPOCHS + 1) * writer.R * len(writer.LAYERS)
    assert len(frame) == 4 * per_run
    assert set(frame["training.lr"]) == {0.1, 0.2}
    key = frame["run_key"][0]
    records = store.records(key)
    one = frame[(frame.run_key == key) & (frame.replica == 1) & (frame.epoch == 4)]
    assert one["layer"].tolist() == writer.LAYERS
    expected = records["deviation_std"].sel(replica=1, step=4 * writer.STEPS)
    assert one["deviation_std"].tolist() == expected.values.tolist()
    assert one["test_loss"].iloc[0] == float(
        records["test_loss"].sel(replica=1, step=4 * writer.STEPS)
    )
    (table,) = export_store(store, tmp_path / "out.csv")
    pd.testing.assert_frame_equal(
        pd.read_csv(table)[["step", "train_loss"]], frame[["step", "train_loss"]]
    )
    with pytest.raises(StoreError, match="no ending that is known"):
        export_store(store, tmp_path / "out.xlsx")
