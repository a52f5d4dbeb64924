"""What is written to a store comes back: values, dims, coordinates, attributes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr

import store_writer as writer
from birthmark.errors import StoreError
from birthmark.store import RunFolder, Store, open_store, segments
from store_writer import EPOCHS, LAYERS, STEPS, R, make_spec

COUNTS = {"below_eps", "saturated", "abandoned", "nonfinite_step"}
METRICS = {
    *("train_loss", "test_loss", "train_accuracy", "test_accuracy"),
    *("train_loss_evaluated", "train_accuracy_evaluated"),
    *COUNTS,
}


@pytest.fixture
def finished(tmp_path: Path) -> Store:
    writer.write_run(tmp_path / "store", make_spec())
    return open_store(tmp_path / "store")


@pytest.fixture
def begun(tmp_path: Path) -> RunFolder:
    run = open_store(tmp_path / "store", create=True).start_run(make_spec())
    run.load_checkpoint()
    return run


def records_of(run: RunFolder) -> xr.Dataset:
    return open_store(run.paths.folder.parent).records(run.run_key)


def expected_scalars() -> xr.Dataset:
    """Built by xarray alone: concatenated, and NaN at epochs without measurement."""
    travelled = np.cumsum(
        [float(writer.noise("move", e, shape=()) ** 2) for e in range(EPOCHS + 1)]
    )
    each = [writer.scalars(e, travelled[e]) for e in writer.SCALAR_EPOCHS]
    steps = [e * STEPS for e in writer.SCALAR_EPOCHS]
    joined = xr.concat(each, dim=xr.Variable("step", steps))
    return joined.reindex(step=[e * STEPS for e in range(EPOCHS + 1)])


def test_scalars_come_back_with_nan_where_nothing_was_measured(finished: Store) -> None:
    records = finished.records(make_spec().run_key)
    expected = expected_scalars()
    for name in expected.data_vars:
        xr.testing.assert_equal(
            records[name].drop_vars("epoch"), expected[name].astype(float)
        )
        assert records[name].attrs == writer.scalars(0)[name].attrs
    assert records["deviation_std"].isel(step=3).isnull().all()  # epoch 3: none


def test_distributions_lie_on_their_own_dim(finished: Store) -> None:
    records = finished.records(make_spec().run_key)
    epochs = writer.DISTRIBUTION_EPOCHS
    steps = xr.Variable("distribution_step", [e * STEPS for e in epochs])
    each = [writer.distributions(e).drop_vars("bound") for e in epochs]
    expected = xr.concat(each, dim=steps)
    for name in expected.data_vars:
        xr.testing.assert_equal(
            records[name].drop_vars("distribution_epoch"), expected[name]
        )
        assert records[name].attrs == expected[name].attrs
    assert records["distribution_epoch"].to_numpy().tolist() == epochs
    assert records["joint_count"].dtype == np.int32
    assert records["joint_count"].dims == (
        *("distribution_step", "replica", "layer"),
        *("bin", "current_bin"),
    )


def test_metrics_come_back_at_every_epoch(finished: Store) -> None:
    records = finished.records(make_spec().run_key)
    assert set(records.data_vars) >= METRICS
    for name in METRICS - {"nonfinite_step"}:
        written = [getattr(writer.metrics(e), name) for e in range(EPOCHS + 1)]
        assert records[name].dims == ("step", "replica")
        np.testing.assert_array_equal(records[name], np.array(written))
        assert records[name].dtype == (np.int64 if name in COUNTS else np.float64)
    assert records["nonfinite_step"].dims == ("replica",)
    assert records["nonfinite_step"].to_numpy().tolist() == [-1, 40]
    assert records["epoch"].to_numpy().tolist() == list(range(EPOCHS + 1))
    assert records["epoch"].dims == ("step",)
    assert records["step"].to_numpy().tolist() == [e * STEPS for e in range(EPOCHS + 1)]


def test_coordinates_and_static_variables_keep_values_and_attributes(
    finished: Store,
) -> None:
    records = finished.records(make_spec().run_key)
    written = xr.merge(
        [writer.scalars(0), writer.distributions(0)], combine_attrs="override"
    )
    for name in ("layer", "bin", "current_bin", "bin_edge", "quantile", "replica"):
        xr.testing.assert_identical(
            records[name].variable.to_base_variable(),
            written[name].variable.to_base_variable(),
        )
    xr.testing.assert_identical(records["bound"], written["bound"])


def test_every_variable_has_a_long_name_and_units(begun: RunFolder) -> None:
    begun.append_metrics(writer.metrics(0))
    begun.save_checkpoint({}, {})
    records = records_of(begun)
    for name in [*METRICS, "step", "epoch"]:
        assert records[name].attrs["long_name"]
        assert records[name].attrs["units"]


def test_attributes_state_the_protocol(finished: Store) -> None:
    attrs = finished.records(make_spec().run_key).attrs
    assert attrs["run_key"] == make_spec().run_key
    assert attrs["state"] == "done"
    assert attrs["data.name"] == "mnist"
    assert attrs["network.widths"] == [256, 256]
    assert attrs["initialization.name"] == "glorot_uniform"
    assert attrs["num_classes"] == 10
    assert attrs["data.checksum"] == "ab12"
    assert None not in attrs.values()


def test_records_without_distributions_are_the_same_else(finished: Store) -> None:
    whole = finished.records(make_spec().run_key)
    small = finished.records(make_spec().run_key, distributions=False)
    assert "joint_count" in whole and "spectral_distance" in small
    bins = ["bin", "current_bin"]
    xr.testing.assert_identical(small.drop_dims(bins), whole.drop_dims(bins))
    assert not [name for name in small if {*bins} & {*small[name].dims}]


def test_counts_are_read_when_looked_at_whatever_became_of_the_files(
    finished: Store, tmp_path: Path
) -> None:
    key = make_spec().run_key
    expected = finished.records(key).load()
    late = finished.records(key)
    before = finished.records(key).copy()
    shutil.rmtree(tmp_path / "store" / key)
    picked = {"bin": [3, 1], "replica": 1, "distribution_step": slice(None, None, 2)}
    for whole, part in ((late, {}), (late, picked), (before, {})):
        xr.testing.assert_identical(whole.isel(part), expected.isel(part))
    before["joint_count"][0] = -1
    assert (before["joint_count"][0] == -1).all() and not (
        late["joint_count"] < 0
    ).any()


def test_parquet_holds_one_row_an_epoch_replica_and_layer(finished: Store) -> None:
    folder = finished.path / make_spec().run_key
    tables = {
        name: pq.read_table(folder / f"{name}-{EPOCHS:06d}.parquet").to_pandas()
        for name in ("metrics", "layers", "distributions")
    }
    keys = ["epoch", "step", "replica", "layer"]
    layers = tables["layers"].set_index(keys)["deviation_std"]
    joint = tables["distributions"].set_index(keys)["joint_count"]
    schema = pq.read_schema(folder / f"distributions-{EPOCHS:06d}.parquet")
    dtype = schema.field("joint_count").metadata[b"dtype"].decode()
    losses = tables["metrics"].set_index(keys[:3])["test_loss"]
    for epoch in (0, 4, EPOCHS):
        for replica in range(R):
            address = (epoch, epoch * STEPS, replica)
            assert losses[address] == writer.metrics(epoch).test_loss[replica]
            for i, layer in enumerate(LAYERS):
                std = writer.scalars(epoch)["deviation_std"].to_numpy()[replica, i]
                assert layers[(*address, layer)] == std
                counts = writer.distributions(epoch)["joint_count"][replica, i]
                found = np.frombuffer(joint[(*address, layer)], dtype)
                np.testing.assert_array_equal(found, counts.to_numpy().ravel())
    assert len(tables["metrics"]) == (EPOCHS + 1) * R
    assert len(layers) == len(writer.SCALAR_EPOCHS) * R * len(LAYERS)


def test_a_finished_run_is_one_segment_a_table_and_no_checkpoint(
    finished: Store,
) -> None:
    folder = finished.path / make_spec().run_key
    assert sorted(path.name for path in folder.iterdir()) == [
        "contents.json",
        "distributions-000011.parquet",
        "done",
        "layers-000011.parquet",
        "manifest.json",
        "metrics-000011.parquet",
        "schema.json",
        "spec.toml",
        "weights-000000.safetensors",
        "weights-000005.safetensors",
        "weights-000011.safetensors",
    ]
    assert finished.manifest(make_spec().run_key) == writer.MANIFEST
    written = json.loads((folder / "manifest.json").read_text())
    said = {"checksum": written["checksum"], "birthmark-run": make_spec().run_key}
    assert written == writer.MANIFEST | said
    assert finished.manifest(make_spec().run_key) == writer.MANIFEST


def test_weights_come_back_in_order_from_strided_views(finished: Store) -> None:
    assert finished.weights_epochs(make_spec().run_key) == writer.WEIGHTS_EPOCHS
    for epoch in writer.WEIGHTS_EPOCHS:
        read = finished.weights(make_spec().run_key, epoch)
        assert list(read) == LAYERS
        for name, layer in writer.weights(epoch).items():
            np.testing.assert_array_equal(read[name].w, layer.w)
            np.testing.assert_array_equal(read[name].b, layer.b)
            assert read[name].w.dtype == np.float32
    with pytest.raises(StoreError, match=r"no weights of epoch 3, but of epochs 0, 5"):
        finished.weights(make_spec().run_key, 3)


def test_an_unfinished_run_shows_what_was_flushed(begun: RunFolder) -> None:
    assert records_of(begun).sizes == {"step": 0, "replica": R}
    for epoch in range(6):
        begun.append_metrics(writer.metrics(epoch))
        begun.append_measurements(epoch, epoch * STEPS, writer.scalars(epoch))
        if epoch == 3:
            begun.save_checkpoint({}, {})
    records = records_of(begun)
    assert records["epoch"].to_numpy().tolist() == [0, 1, 2, 3]
    assert records["deviation_std"].notnull().all()
    assert "joint_count" not in records
    assert records.attrs["state"] == "running"


def test_appending_does_not_touch_the_disk(begun: RunFolder) -> None:
    before = {p: p.stat().st_mtime_ns for p in begun.paths.folder.iterdir()}
    begun.append_metrics(writer.metrics(0))
    begun.append_measurements(0, 0, writer.scalars(0), writer.distributions(0))
    assert before == {p: p.stat().st_mtime_ns for p in begun.paths.folder.iterdir()}


def test_what_was_appended_may_be_overwritten_by_its_owner(begun: RunFolder) -> None:
    metrics, scalars = writer.metrics(1), writer.scalars(1)
    begun.append_metrics(metrics)
    begun.append_measurements(1, STEPS, scalars)
    metrics.train_loss[:] = 77
    scalars["deviation_std"].values[:] = 77
    begun.save_checkpoint({}, {})
    np.testing.assert_array_equal(
        records_of(begun)["train_loss"][0], writer.metrics(1).train_loss
    )
    np.testing.assert_array_equal(
        records_of(begun)["deviation_std"][0], writer.scalars(1)["deviation_std"]
    )


def test_dims_may_come_in_any_order(begun: RunFolder) -> None:
    begun.append_metrics(writer.metrics(0))
    turned = writer.distributions(0).transpose("current_bin", "layer", ...)
    begun.append_measurements(0, 0, writer.scalars(0), turned)
    begun.save_checkpoint({}, {})
    read = records_of(begun)["joint_count"].isel(distribution_step=0)
    expected = writer.distributions(0)["joint_count"].transpose(*read.dims)
    np.testing.assert_array_equal(read, expected)


def test_other_measurements_than_at_the_start_are_refused(begun: RunFolder) -> None:
    begun.append_metrics(writer.metrics(0))
    begun.append_measurements(0, 0, writer.scalars(0))
    begun.append_metrics(writer.metrics(1))
    with pytest.raises(StoreError, match=r"that there are no more \(path_length\)"):
        begun.append_measurements(1, 7, writer.scalars(1).drop_vars("path_length"))


def test_an_epoch_is_taken_once_and_in_order(begun: RunFolder) -> None:
    begun.append_metrics(writer.metrics(1))
    for epoch in (0, 1):
        with pytest.raises(ValueError, match=f"epoch {epoch} comes after 1"):
            begun.append_metrics(writer.metrics(epoch))
    with pytest.raises(ValueError, match="metrics of epoch 2 first"):
        begun.append_measurements(2, 14, writer.scalars(2))


def test_saving_twice_at_one_epoch_does_no_harm(begun: RunFolder) -> None:
    begun.append_metrics(writer.metrics(0))
    begun.save_checkpoint({}, {"batch": 0})
    begun.save_checkpoint({"x": np.arange(3)}, {"batch": 5})
    assert records_of(begun).sizes["step"] == 1
    arrays, facts = begun.load_checkpoint() or ({}, {})
    assert arrays["x"].tolist() == [0, 1, 2] and facts == {"batch": 5}


def test_the_bytes_depend_on_the_rows_and_not_on_when_they_were_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "_GROUPS", dict.fromkeys(segments.TABLES, 7))
    rng, spec, found = np.random.default_rng(0), make_spec(), []
    for share in (0.0, 0.5, 1.0):
        store = open_store(tmp_path / str(share), create=True)
        run = store.start_run(spec)
        run.load_checkpoint()
        for epoch in range(EPOCHS + 1):
            run.append_metrics(writer.metrics(epoch))
            step, scalars = epoch * STEPS, writer.scalars(epoch)
            run.append_measurements(epoch, step, scalars, writer.distributions(epoch))
            if rng.random() < share:
                run.flush()
        run.finish({})
        files = sorted(run.paths.folder.glob("*.parquet"))
        found.append({path.name: path.read_bytes() for path in files})
        groups = pq.ParquetFile(files[0]).num_row_groups
        assert groups == -(-(EPOCHS + 1) * R * len(LAYERS) // 7)
    assert found[0] == found[1] == found[2]


def test_counts_are_as_narrow_in_files_as_their_rows_allow(begun: RunFolder) -> None:
    most, wanted = [100, 200, 40_000, 3], []
    for epoch, count in enumerate(most):
        counted = writer.distributions(epoch)
        joint = counted["joint_count"]
        joint[:] = np.arange(joint.size).reshape(joint.shape) % count
        joint[0, 0, 0, 0] = count
        wanted.append(joint.to_numpy())
        begun.append_metrics(writer.metrics(epoch))
        begun.append_measurements(epoch, epoch, writer.scalars(epoch), counted)
        begun.save_checkpoint({}, {})

    def kinds() -> list[str]:
        files = sorted(begun.paths.folder.glob("distributions-*.parquet"))
        fields = [pq.read_schema(file).field("joint_count") for file in files]
        return [field.metadata[b"dtype"].decode() for field in fields]

    assert kinds() == ["|i1", "<i2", "<i4", "|i1"]
    segments.join_segments(begun.paths.folder, "distributions")
    assert kinds() == ["<i4"]
    found = records_of(begun)["joint_count"]
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, wanted)
    segments.cut_segments(begun.paths.folder, "distributions", 1)
    assert kinds() == ["<i2"]


def test_plain_arrays_are_those_of_the_dataset(finished: Store) -> None:
    key = make_spec().run_key
    expected, found = finished.records(key), finished.arrays(key)
    assert set(found) == set(expected.data_vars)
    assert set(found.coords) == set(expected.coords)
    assert found.sizes == dict(expected.sizes) and found.attrs == expected.attrs
    for name in expected.variables:
        one, other = found[name], expected[name]
        assert one.dims == other.dims and one.attrs == other.attrs
        assert one.dtype == other.to_numpy().dtype
        np.testing.assert_array_equal(one.to_numpy(), other.to_numpy())
    xr.testing.assert_identical(found.to_dataset(), expected)


def test_parts_of_plain_arrays_are_those_of_the_dataset(finished: Store) -> None:
    key, places = make_spec().run_key, np.array([R - 1, 0])
    expected, found = finished.records(key), finished.arrays(key)
    expected = expected.isel(replica=places).isel(distribution_step=-1)
    expected = expected.sel(layer=LAYERS[1])
    found = found.isel(replica=places).isel(distribution_step=-1).sel(layer=LAYERS[1])
    assert found.sizes == dict(expected.sizes)
    for name in ("deviation_std", "train_loss"):
        one, other = (each[name].sel(replica=0) for each in (found, expected))
        np.testing.assert_array_equal(one.to_numpy(), other)
    assert list(found.labels["replica"]) == list(expected["replica"].to_numpy())
    joint = found["joint_count"].transpose("current_bin", "replica", "bin")
    np.testing.assert_array_equal(
        joint.to_numpy(),
        expected["joint_count"].transpose("current_bin", "replica", "bin"),
    )
    assert float(found["bound"]) == float(expected["bound"])
    few = found.without("bin", "current_bin")
    assert "joint_count" not in few and "deviation_std" in few
    xr.testing.assert_identical(
        few.to_dataset(), expected.drop_dims(["bin", "current_bin"])
    )
    with pytest.raises(KeyError, match="no layer"):
        finished.arrays(key).sel(layer="no layer")
    with pytest.raises(ValueError, match="order"):
        found["joint_count"].transpose("bin", "replica")
