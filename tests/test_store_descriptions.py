"""Runs of any kind: named, with fields, counted in steps, with any metrics."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import birthmark as bm
import store_writer as writer
from birthmark.errors import StoreError
from birthmark.shapes import StepMetrics
from birthmark.store import RunDescription, RunFolder, Store, open_store, verify_store
from birthmark.store.files import read_json, write_json

WHAT = RunDescription(
    "tracked", "mine", {"lr": 3e-4, "model": {"depth": 2}}, (3,), start="ab" * 32
)
STEPS = (0, 1, 2, 4, 8)
START = {
    "fc.weight": torch.arange(6.0).reshape(2, 3),
    "fc.bias": torch.zeros(2),
    "norm.weight": torch.ones(3),
}


def at(step: int) -> dict[str, torch.Tensor]:
    return {name: value + 0.1 * step for name, value in START.items()}


def write(run: RunFolder, steps: tuple[int, ...]) -> None:
    for step in steps:
        noted = {"loss": np.array([1 / (1 + step)])}
        if step >= 4:
            noted["grad norm"] = np.array([float(step)])
        run.append_metrics(StepMetrics(step, noted, epoch=step // 4))
        scalars = bm.measure(START, at(step), kind="scalars")
        binned = bm.measure(START, at(step), kind="distributions") if step else None
        run.append_measurements(step, step, scalars, binned)
        run.flush()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


def test_any_network_is_recorded_by_step_and_parameter(store: Store) -> None:
    run = store.start_run(WHAT)
    write(run, STEPS)
    while_running = store.records(WHAT.run_key, by="parameter")
    run.finish({"wall_time_s": 1.0})
    records = store.records(WHAT.run_key, by="parameter")
    xr.testing.assert_equal(records, while_running)
    assert list(records.parameter.values) == list(START)
    assert records.step.values.tolist() == list(STEPS)
    assert records.epoch.values.tolist() == [0, 0, 0, 1, 2]
    assert records.replica.values.tolist() == [3]
    assert records.kind.values.tolist() == ["head", "bias", "norm"]
    assert records["shape"].values.tolist() == ["2x3", "2", "3"]
    expected = [0.1 * step * 6**0.5 for step in STEPS]
    found = records.distance.sel(parameter="fc.weight", replica=3)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert records["grad norm"].values[:, 0].tolist()[3:] == [4.0, 8.0]
    assert np.isnan(records["grad norm"].values[:3]).all()
    assert records.joint_count.sizes["distribution_step"] == 4
    assert (records.attrs["name"], records.attrs["model.depth"]) == ("mine", 2)


def test_the_same_records_by_layer_have_biases_beside_weights(store: Store) -> None:
    run = store.start_run(WHAT)
    write(run, STEPS)
    run.finish({})
    records = store.records(WHAT.run_key)
    assert list(records.layer.values) == ["fc", "norm"]
    expected = [0.1 * step * 2**0.5 for step in STEPS]
    np.testing.assert_allclose(
        records.bias_distance.sel(layer="fc").values[:, 0], expected, rtol=1e-6
    )
    assert records.bias_distance.sel(layer="norm").isnull().all()


def test_what_was_noted_after_a_step_is_dropped_and_recorded_anew(store: Store) -> None:
    run = store.start_run(WHAT)
    write(run, STEPS)
    expected = store.records(WHAT.run_key)
    again = store.start_run(WHAT) if not hasattr(run, "close") else _reopen(store, run)
    again.rewind(2)
    assert store.records(WHAT.run_key).step.values.tolist() == [0, 1, 2]
    write(again, (4, 8))
    xr.testing.assert_identical(store.records(WHAT.run_key), expected)
    with pytest.raises(ValueError, match="step 8 comes after 8"):
        again.append_metrics(StepMetrics(8, {}))


def _reopen(store: Store, run: RunFolder) -> RunFolder:
    run.close()
    return store.start_run(WHAT)


def test_the_start_is_written_once(store: Store) -> None:
    run = store.start_run(WHAT)
    assert run.load_start() is None
    run.save_start({"a": np.arange(3.0)}, {"hash": "x"})
    run.save_start({"a": np.zeros(3)}, {"hash": "y"})
    arrays, facts = run.load_start()
    assert (arrays["a"].tolist(), facts) == ([0, 1, 2], {"hash": "x"})


def test_runs_of_all_kinds_stand_in_one_table(store: Store) -> None:
    write(store.start_run(WHAT), STEPS)
    spec = writer.make_spec(training={"epochs": writer.EPOCHS, "lr": 3e-4})
    writer.write_run(store.path, spec)
    table = store.runs().set_index("run_key")
    mine, other = table.loc[WHAT.run_key], table.loc[spec.run_key]
    assert (mine["kind"], mine["name"], mine["replica"]) == ("tracked", "mine", 3)
    assert (mine["step"], mine["lr"], mine["model.depth"]) == (8, 3e-4, 2)
    assert (other["kind"], other["epoch"], other["training.lr"]) == ("spec", 11, 3e-4)
    assert list(store.runs(depth=2)["run_key"]) == [WHAT.run_key]
    assert list(store.runs(kind="spec")["run_key"]) == [spec.run_key]
    assert store.description(WHAT.run_key) == WHAT
    assert store.description(spec.run_key).fields["training"]["lr"] == 3e-4
    with pytest.raises(StoreError, match="tracked and follows no spec"):
        store.spec(WHAT.run_key)


def test_the_key_is_of_all_that_makes_a_run_another_one(store: Store) -> None:
    others = [
        RunDescription("tracked", "mine", WHAT.fields, (4,), WHAT.start),
        RunDescription("tracked", "mine", WHAT.fields, (3,), "cd" * 32),
        RunDescription("tracked", "mine", {"lr": 1e-4}, (3,), WHAT.start),
        RunDescription("tracked", "yours", WHAT.fields, (3,), WHAT.start),
    ]
    assert len({WHAT.run_key, *(one.run_key for one in others)}) == 5
    turned = {"model": {"depth": 2}, "lr": 3e-4}
    same = RunDescription("tracked", "mine", turned, (3,), WHAT.start, {"every": 9})
    assert same.run_key == WHAT.run_key
    folder = store.start_run(WHAT).paths.folder
    path = folder / "description.json"
    path.write_text(path.read_text().replace('"mine"', '"ours"'))
    with pytest.raises(StoreError):
        store.description(WHAT.run_key)
    assert store.runs()["state"].tolist() == ["damaged"]


@pytest.mark.parametrize(
    "fields",
    [{"state": 1}, {"a": object()}, {"a": np.nan}, {"\ud800": 1}, {"a": ["\ud800"]}],
)
def test_fields_that_cannot_be_columns_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(StoreError, match="field"):
        RunDescription("tracked", "mine", fields)


def test_half_of_a_character_that_an_older_version_took_harms_no_other_run(store):
    with pytest.raises(StoreError, match="no text in UTF-8"):
        RunDescription("tracked", "\ud800")
    for name in ("mine", "ours"):
        folder = store.start_run(RunDescription("tracked", name)).paths.folder
    path = folder / "description.json"
    write_json(path, {**read_json(path), "name": "\ud800"})
    states = open_store(store.path).runs().set_index("run_key")["state"]
    assert states.pop(folder.name) == "damaged"
    assert "damaged" not in states.tolist()
    assert [one.run_key for one in verify_store(store)] == [folder.name]


def test_of_damage_it_is_said_who_alone_can_mend_it(store):
    run = store.start_run(WHAT)
    write(run, STEPS)
    run.finish({})
    run.paths.schema.write_bytes(b"{")
    advice = f"or delete {run.paths.folder} and train it again"
    (damaged,) = verify_store(store)
    assert damaged.problem.endswith(advice)
    with pytest.raises(StoreError, match=advice):
        store.records(WHAT.run_key)


def test_a_killed_run_of_the_first_format_goes_on(tmp_path: Path) -> None:
    """Written by the code before runs were described, and killed in its last flush."""
    shutil.copytree(Path(__file__).parent / "store_of_killed_run", tmp_path / "old")
    store, spec = open_store(tmp_path / "old"), writer.make_spec()
    writer.write_run(tmp_path / "new", spec)
    expected = open_store(tmp_path / "new").records(spec.run_key)
    found = store.records(spec.run_key)
    assert found.epoch.values.tolist() == list(range(9))
    for name in ("train_loss", "deviation_std", "nonfinite_count"):
        xr.testing.assert_identical(
            found[name].drop_attrs(), expected[name][:9].drop_attrs()
        )
    writer.write_run(tmp_path / "old", spec)
    xr.testing.assert_identical(
        open_store(tmp_path / "old").records(spec.run_key), expected
    )
