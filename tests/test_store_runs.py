"""Listing and finding runs, and refusing what is damaged in one line."""

from pathlib import Path

import pandas as pd
import pytest
import xarray as xr

import store_writer as writer
from birthmark.errors import StoreError
from birthmark.spec import RunSpec
from birthmark.store import FORMAT_VERSION, Store, files, open_store
from store_writer import EPOCHS, make_spec

KEY = make_spec().run_key


@pytest.fixture
def finished(tmp_path: Path) -> Store:
    writer.write_run(tmp_path / "store", make_spec())
    return open_store(tmp_path / "store")


@pytest.fixture
def several(tmp_path: Path) -> Store:
    store = open_store(tmp_path / "store", create=True)
    for width in (20, 40):
        for lr in (0.1, 0.3):
            store.start_run(
                make_spec(network={"widths": [width, width]}, training={"lr": lr})
            )
    store.start_run(make_spec(mark={"text": "a"}))
    return store


def refusal(error: pytest.ExceptionInfo[StoreError]) -> str:
    message = str(error.value)
    assert "\n" not in message and len(message) < 400
    return message


def test_runs_has_state_epoch_time_and_every_field(finished: Store) -> None:
    finished.start_run(make_spec(run={"seed": 1}))
    runs = finished.runs().set_index("run_key")
    assert finished.is_done(KEY) and not finished.is_done("0" * 16)
    assert runs.loc[KEY, "state"] == "done"
    assert runs.loc[KEY, "epoch"] == EPOCHS
    assert runs.loc[KEY, "wall_time_s"] == 12.5
    assert abs(pd.Timestamp.now("UTC") - runs.loc[KEY, "written"]).seconds < 60
    assert runs.loc[KEY, "network.widths"] == (256, 256)
    other = runs.drop(KEY).iloc[0]
    assert other["state"] == "unfinished" and other["run.seed"] == 1
    assert pd.isna(other["epoch"]) and pd.isna(other["wall_time_s"])
    for table, fields in make_spec().model_dump(mode="json").items():
        for field in fields or {}:
            assert any(c.startswith(f"{table}.{field}") for c in runs.columns) or (
                field == "layers"
            )


def test_an_empty_store_has_no_runs_and_all_columns(tmp_path: Path) -> None:
    runs = open_store(tmp_path / "new", create=True).runs(lr=0.1)
    assert len(runs) == 0 and "training.lr" in runs.columns


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 5),
        ({"lr": 0.1}, 3),
        ({"training.lr": 0.3}, 2),
        ({"widths": [20, 20]}, 2),
        ({"widths": (20, 20), "lr": 0.3}, 1),
        ({"data.name": "mnist"}, 5),
        ({"schedule.name": "constant"}, 5),
        ({"text": "a"}, 1),
        ({"text": None}, 4),
        ({"state": "done"}, 0),
        ({"replicas": 3}, 0),
        ({"nesterov": False}, 5),
    ],
)
def test_filters_take_dotted_names_or_last_parts(
    several: Store, filters: dict[str, object], count: int
) -> None:
    runs = several.runs(**filters)
    assert len(runs) == count
    assert runs.index.tolist() == list(range(count))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("epochs", ["training.epochs", "record.epochs"]),
        ("leraning", ["unknown filter 'leraning'"]),
        ("training.lrr", ["did you mean 'training.lr'?"]),
        ("widhts", ["did you mean 'widths'?"]),
    ],
)
def test_a_filter_of_no_or_several_columns_is_refused(
    several: Store, name: str, words: list[str]
) -> None:
    with pytest.raises(StoreError) as error:
        several.runs(**{name: 1})
    assert all(word in refusal(error) for word in words)


def test_the_first_digits_of_a_key_are_enough(finished: Store) -> None:
    assert finished.spec(KEY[:5]) == make_spec() == finished.spec(KEY)
    other = ("f" if KEY[0] == "0" else "0") + KEY[1:]
    with pytest.raises(StoreError) as error:
        finished.records(other)
    assert refusal(error).endswith(f"the nearest of 1 is {KEY!r}")


def test_digits_that_fit_several_runs_are_refused(several: Store) -> None:
    with pytest.raises(StoreError, match=r"could be [0-9a-f]{16} or"):
        several.spec("")


def test_the_spec_comes_back_with_every_kind_of_field(tmp_path: Path) -> None:
    image = tmp_path / "logo.png"
    image.write_bytes(b"a picture")
    specs = [
        make_spec(),
        RunSpec(
            data={"name": "hasyv2", "fold": 3, "classes": 20, "examples_per_class": 9},
            network={"widths": [7], "activation": "tanh"},
            initialization={
                "name": "normal",
                "std": 1e-7,
                "bias": {"name": "constant", "value": 1},
                "layers": {"hidden1": {"name": "uniform", "bound": 0.1}},
            },
            mark={"image": str(image), "layer": "hidden1", "mode": "shift", "value": 1},
            training={"optimizer": "adam", "schedule": {"name": "step", "epochs": 4}},
            record={"epochs": [0, 5], "weights": "log", "weights_layers": ["hidden1"]},
        ),
    ]
    image.unlink()
    store = open_store(tmp_path / "store", create=True)
    for spec in specs:
        store.start_run(spec)
        assert store.spec(spec.run_key) == spec


def test_an_image_named_relatively_keeps_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("logo.png").write_bytes(b"a picture")
    spec = make_spec(mark={"image": "logo.png"})
    store = open_store("store", create=True)
    store.start_run(spec)
    assert store.spec(spec.run_key) == spec


def test_starting_a_run_twice_changes_nothing(finished: Store) -> None:
    folder = finished.path / KEY
    before = {path: path.read_bytes() for path in folder.iterdir()}
    finished.start_run(make_spec())
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


def test_folders_that_are_no_runs_are_not_listed(finished: Store) -> None:
    (finished.path / "figures").mkdir()
    (finished.path / "0123456789abcdef").mkdir()  # killed before its spec was there
    assert finished.runs()["run_key"].tolist() == [KEY]


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    for path, words in [
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path, "is no birthmark store"),
    ]:
        with pytest.raises(StoreError) as error:
            open_store(path)
        assert words in refusal(error)
    assert list(tmp_path.iterdir()) == []


def test_a_newer_store_is_refused_and_not_touched(finished: Store) -> None:
    description = finished.path / "birthmark-store.json"
    files.write_json(description, {"format_version": FORMAT_VERSION + 1})
    before = {p: p.stat().st_mtime_ns for p in finished.path.rglob("*")}
    for create in (False, True):
        with pytest.raises(
            StoreError, match=f"format version {FORMAT_VERSION + 1}.*update birthmark"
        ):
            open_store(finished.path, create=create)
    assert before == {p: p.stat().st_mtime_ns for p in finished.path.rglob("*")}


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"format_version": "x"}', "{}"])
def test_a_damaged_description_of_the_store_is_refused(
    finished: Store, content: str
) -> None:
    (finished.path / "birthmark-store.json").write_text(content)
    for create in (False, True):
        with pytest.raises(StoreError) as error:
            open_store(finished.path, create=create)
        refusal(error)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for path in (file, file / "store"):
        with pytest.raises(StoreError) as error:
            open_store(path, create=True)
        assert str(path) in refusal(error)
    assert file.read_text() == "mine"


def test_a_run_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path, create=True)
    (tmp_path / KEY).write_text("a file in the way")
    with pytest.raises(StoreError) as error:
        store.start_run(make_spec())
    assert KEY in refusal(error)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    run = open_store(tmp_path, create=True).start_run(make_spec())
    run.append_metrics(writer.metrics(0))
    run.paths.checkpoint.mkdir()  # in its way
    with pytest.raises(StoreError) as error:
        run.save_checkpoint({}, {})
    assert "cannot write" in refusal(error)
    run.paths.checkpoint.rmdir()
    run.save_checkpoint({}, {})
    assert open_store(tmp_path).records(KEY).sizes["step"] == 1


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def garble(path: Path) -> None:
    path.write_bytes(b"\xff\x00" * 500)


def unlink(path: Path) -> None:
    path.unlink()


SEGMENTS = [f"{t}-000011.parquet" for t in ("metrics", "layers", "distributions")]


@pytest.mark.parametrize("harm", [truncate, garble, unlink])
@pytest.mark.parametrize("name", SEGMENTS)
def test_damaged_records_are_refused(finished: Store, name: str, harm: object) -> None:
    harm(finished.path / KEY / name)  # type: ignore[operator]
    with pytest.raises(StoreError) as error:
        finished.records(KEY)
    assert KEY in refusal(error)


@pytest.mark.parametrize("name", SEGMENTS)
def test_a_flipped_bit_never_changes_a_number_unseen(
    finished: Store, name: str
) -> None:
    path = finished.path / KEY / name
    whole = finished.records(KEY)
    content = path.read_bytes()
    seen = 0
    for bit in range(100, 8 * len(content), 8 * len(content) // 60):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            records = finished.records(KEY)
        except StoreError:
            seen += 1
        else:
            xr.testing.assert_identical(records, whole)
    assert seen > 10


@pytest.mark.parametrize("harm", [truncate, garble])
@pytest.mark.parametrize("name", ["schema.json", "manifest.json", "spec.toml"])
def test_damaged_descriptions_are_refused(
    finished: Store, name: str, harm: object
) -> None:
    harm(finished.path / KEY / name)  # type: ignore[operator]
    with pytest.raises(StoreError) as error:
        finished.records(KEY)
    assert name in refusal(error)
    damaged = name != "schema.json"
    assert finished.runs()["state"].tolist() == ["damaged" if damaged else "done"]


@pytest.mark.parametrize("harm", [truncate, garble])
def test_damaged_weights_and_checkpoints_are_refused(
    finished: Store, harm: object
) -> None:
    harm(finished.path / KEY / "weights-000005.safetensors")  # type: ignore[operator]
    with pytest.raises(StoreError) as error:
        finished.weights(KEY, 5)
    assert "weights-000005.safetensors" in refusal(error)
    run = finished.start_run(make_spec(run={"seed": 1}))
    run.append_metrics(writer.metrics(0))
    run.save_checkpoint({"x": writer.metrics(0).below_eps}, {})
    harm(run.paths.checkpoint)  # type: ignore[operator]
    with pytest.raises(StoreError) as error:
        run.load_checkpoint()
    assert "checkpoint.safetensors" in refusal(error)
    assert finished.records(run.run_key).sizes["step"] == 1


def test_a_spec_that_was_changed_is_refused(finished: Store) -> None:
    path = finished.path / KEY / "spec.toml"
    files.write_toml(path, path.read_text().replace("lr = 0.1", "lr = 0.2"))
    for attempt in (finished.spec, finished.records):
        with pytest.raises(StoreError) as error:
            attempt(KEY)
        assert "spec.toml was changed" in refusal(error)
    with pytest.raises(StoreError, match="was changed"):
        finished.start_run(make_spec())


def test_a_segment_missing_between_others_is_refused(tmp_path: Path) -> None:
    run = open_store(tmp_path, create=True).start_run(make_spec())
    for epoch in range(3):
        run.append_metrics(writer.metrics(epoch))
        run.save_checkpoint({}, {})
    (run.paths.folder / "metrics-000001.parquet").unlink()
    with pytest.raises(StoreError) as error:
        open_store(tmp_path).records(KEY)
    assert "metrics-000001.parquet is missing" in refusal(error)


def test_a_damaged_file_of_the_store_is_mended_as_it_says(finished) -> None:
    description = finished.path / "birthmark-store.json"
    whole = description.read_bytes()
    description.write_bytes(whole.replace(b"format", b"fornat"))
    with pytest.raises(StoreError, match="delete it and let `birthmark repair`"):
        open_store(finished.path)
    description.unlink()
    open_store(finished.path, create=True)  # as `birthmark repair` does
    assert description.read_bytes() == whole
