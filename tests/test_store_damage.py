"""Files that rot, are cut or lost: always noticed, named, and confined to their run."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import store_writer as writer
from birthmark.errors import StoreError
from birthmark.spec import RunSpec
from birthmark.store import DamageError, Store, open_store, verify_store
from store_writer import CHECKPOINT_EVERY, make_spec, read_all

SPEC, OTHER = make_spec(), make_spec(run={"seed": 1, "replicas": 2})


PUTS = [Path.mkdir, getattr(os, "mkfifo", None), lambda path: path.symlink_to(path)]


def begin(path: Path, spec: RunSpec = SPEC) -> Store:
    """A run that was stopped behind its second checkpoint."""
    run = open_store(path, create=True).start_run(spec)
    run.load_checkpoint()
    run.save_manifest(writer.MANIFEST)
    for epoch in range(2 * CHECKPOINT_EVERY + 1):
        run.append_metrics(writer.metrics(epoch))
        binned = writer.distributions(epoch) if epoch in (0, 1, 4, 8) else None
        run.append_measurements(epoch, epoch * 7, writer.scalars(epoch), binned)
        if epoch % CHECKPOINT_EVERY == 0:
            run.save_weights(epoch, writer.weights(epoch))
            run.save_checkpoint({"w": np.arange(40.0)}, {"next": epoch + 1})
    run.close()
    return open_store(path)


def resume(store: Store) -> object:
    run = store.start_run(SPEC)
    try:
        saved = run.load_checkpoint()
        return saved and (saved[0]["w"].tobytes(), saved[1])
    finally:
        run.close()


@pytest.fixture(params=["done", "begun"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "begun":
        return begin(tmp_path)
    writer.write_run(tmp_path, SPEC)
    return open_store(tmp_path)


def files_of(store: Store) -> list[Path]:
    files = [store.path / "birthmark-store.json"]
    files += sorted((store.path / SPEC.run_key).iterdir())
    return [path for path in files if path.stat().st_size]


def harms(path: Path, rng: np.random.Generator) -> list[tuple[str, bytes | None]]:
    """What may become of a file: flipped bits, cut short, or gone."""
    whole = path.read_bytes()
    found: list[tuple[str, bytes | None]] = [("gone", None)]
    begun = not (path.parent / "done").exists()
    if begun and path.name in ("checkpoint.safetensors", "manifest.json"):
        found = []  # the next writer begins anew, or writes it again
    found += [(f"cut to {n}", whole[:n]) for n in (0, 7, len(whole) // 2, -1)]
    for bit in rng.integers(8 * len(whole), size=12):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        found.append((f"bit {bit}", bytes(flipped)))
    return found


def test_damage_of_any_file_is_refused_by_name_and_never_read(
    store: Store, rng: np.random.Generator
) -> None:
    key = SPEC.run_key
    whole, resumed = read_all(store, key), None
    if not store.is_done(key):
        resumed = resume(store)
    tried = 0
    for path in files_of(store):
        content = path.read_bytes()
        for what, harmed in harms(path, rng):
            path.unlink()
            if harmed is not None:
                path.write_bytes(harmed)
            try:
                opened = open_store(store.path)
                found = read_all(opened, key)
                # a run that goes on may end sooner, until its next writer notices
                sooner = path.name.startswith(("metrics", "weights"))
                assert found == whole or (what == "gone" and sooner), (path.name, what)
                if resumed:
                    assert resume(opened) == resumed, (path.name, what)
            except StoreError as error:
                assert path.name in str(error), (path.name, what, str(error))
                assert len(str(error).splitlines()) == 1
            else:
                raise AssertionError(f"{path.name}, {what}: not noticed")
            path.write_bytes(content)
            tried += 1
    assert tried > 90
    assert read_all(open_store(store.path), key) == whole


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.parametrize("put", PUTS)
def test_what_is_no_file_in_the_place_of_one_is_damage_of_its_run(
    tmp_path: Path, put: Callable[[Path], None]
) -> None:
    """A folder, a pipe, at which a reader would wait for ever, a link in a circle."""
    for spec in (SPEC, OTHER):
        writer.write_run(tmp_path, spec)
    store = open_store(tmp_path)
    whole = read_all(store, SPEC.run_key)
    folder = tmp_path / OTHER.run_key
    for path in sorted(path for path in folder.iterdir() if path.stat().st_size):
        content = path.read_bytes()
        path.unlink()
        put(path)
        (damage,) = verify_store(open_store(tmp_path))
        assert damage.run_key == OTHER.run_key
        assert path.name in damage.problem
        with pytest.raises(StoreError, match=path.name):
            read_all(open_store(tmp_path), OTHER.run_key)
        assert read_all(open_store(tmp_path), SPEC.run_key) == whole
        assert len(open_store(tmp_path).runs()) == 2
        path.rmdir() if put is Path.mkdir else path.unlink()
        path.write_bytes(content)
    assert verify_store(open_store(tmp_path)) == []


def test_verify_lists_what_is_damaged_and_nothing_else(tmp_path: Path) -> None:
    for spec in (SPEC, OTHER):
        writer.write_run(tmp_path, spec)
    store = open_store(tmp_path)
    assert verify_store(store) == []
    path = tmp_path / OTHER.run_key / "weights-000005.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    (tmp_path / SPEC.run_key / "spec.toml").unlink()
    found = {damage.run_key: damage for damage in verify_store(store)}
    assert set(found) == {SPEC.run_key, OTHER.run_key}
    assert found[OTHER.run_key].spec == OTHER
    assert found[SPEC.run_key].spec is None
    assert "weights-000005.safetensors is damaged" in found[OTHER.run_key].problem
    states = store.runs().set_index("run_key")
    assert states.loc[SPEC.run_key, "state"] == "damaged"
    assert "spec.toml" in states.loc[SPEC.run_key, "problem"]
    assert states.loc[OTHER.run_key, "state"] == "done"


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_what_cannot_be_read_at_present_is_not_called_damaged(
    store: Store, monkeypatch: pytest.MonkeyPatch, trouble: Exception, says: str
) -> None:
    def refuse(path: Path) -> bytes:
        raise trouble

    monkeypatch.setattr(Path, "read_bytes", refuse)
    for read in (lambda: read_all(store, SPEC.run_key), lambda: verify_store(store)):
        with pytest.raises(StoreError, match=f"cannot read .*: {says}") as caught:
            read()
        assert not isinstance(caught.value, DamageError)
    monkeypatch.undo()
    assert verify_store(store) == []


def test_a_run_whose_done_was_lost_is_done(tmp_path: Path) -> None:
    writer.write_run(tmp_path, SPEC)
    store = open_store(tmp_path)
    before = read_all(store, SPEC.run_key)
    (tmp_path / SPEC.run_key / "done").unlink()
    assert store.start_run(SPEC).is_done
    assert read_all(store, SPEC.run_key) == before
    (tmp_path / SPEC.run_key / "done").unlink()  # and one that is damaged is not
    weights = tmp_path / SPEC.run_key / "weights-000005.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StoreError, match=f"{weights.name} is damaged"):
        store.start_run(SPEC)
    assert not store.is_done(SPEC.run_key)


@pytest.mark.parametrize("table", ["metrics", "layers", "distributions"])
def test_a_run_that_lost_its_newest_segment_is_not_gone_on_with(
    tmp_path: Path, table: str
) -> None:
    store = begin(tmp_path)
    newest = max((tmp_path / SPEC.run_key).glob(f"{table}-*.parquet"))
    newest.unlink()
    with pytest.raises(StoreError, match=f"{newest.name} is missing"):
        resume(store)


def test_equal_weights_make_equal_bytes_that_others_may_read(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        writer.write_run(tmp_path / folder, SPEC)
    paths = sorted((tmp_path / "a" / SPEC.run_key).iterdir())
    assert {oct(path.stat().st_mode & 0o777) for path in paths} == {"0o644"}
    for path in paths:
        twin = tmp_path / "b" / SPEC.run_key / path.name
        assert path.read_bytes() == twin.read_bytes()
    from safetensors.torch import load_file

    weights = load_file(tmp_path / "a" / SPEC.run_key / "weights-000005.safetensors")
    expected = writer.weights(5)["output"].w
    np.testing.assert_array_equal(weights["output.w"].numpy(), expected)


def test_a_store_of_the_first_version_is_migrated_with_all_its_numbers(
    tmp_path: Path,
) -> None:
    """It was written by the last commit before there were checksums."""
    old = Path(__file__).parent / "store_of_version_1"
    subprocess.run(["cp", "-r", str(old), str(tmp_path / "old")], check=True)
    before = read_all(open_store(tmp_path / "old"), SPEC.run_key)
    assert open_store(tmp_path / "old", create=True).is_done(SPEC.run_key)
    store = open_store(tmp_path / "old")
    assert read_all(store, SPEC.run_key) == before
    assert verify_store(store) == []
    writer.write_run(tmp_path / "new", SPEC)
    xr.testing.assert_identical(
        store.records(SPEC.run_key),
        open_store(tmp_path / "new").records(SPEC.run_key),
    )
    with (tmp_path / "old" / SPEC.run_key / "manifest.json").open("a") as file:
        file.write(" ")
    with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
        store.manifest(SPEC.run_key)


def test_a_file_of_another_run_is_refused_by_name(store, tmp_path_factory):
    """Also one that is whole, and says nothing of weights: `manifest.json`."""
    other = tmp_path_factory.mktemp("other")
    if store.is_done(SPEC.run_key):
        writer.write_run(other, OTHER)
    else:
        begin(other, OTHER)
    tried = 0
    for path in files_of(store)[1:]:
        whole = path.read_bytes()
        path.write_bytes((other / OTHER.run_key / path.name).read_bytes())
        with pytest.raises(StoreError) as caught:
            read_all(open_store(store.path), SPEC.run_key)
            resume(store)
        assert path.name in str(caught.value) and OTHER.run_key in str(caught.value)
        path.write_bytes(whole)
        tried += 1
    assert tried > 8
    read_all(open_store(store.path), SPEC.run_key)


@pytest.mark.parametrize("store", ["begun"], indirect=True)
def test_a_whole_file_in_the_wrong_place_is_refused(store, tmp_path_factory):
    folder = store.path / SPEC.run_key
    segment = max(folder.glob("distributions-*"))
    whole = segment.read_bytes()
    other = tmp_path_factory.mktemp("other")
    writer.write_run(other, OTHER)
    (theirs,) = (other / OTHER.run_key).glob("distributions-*")
    for wrong in (max(folder.glob("layers-*")), theirs):
        segment.write_bytes(wrong.read_bytes())
        with pytest.raises(StoreError, match=f"{segment.name} is damaged .it is of"):
            store.records(SPEC.run_key)
        (damage,) = verify_store(store)
        assert segment.name in damage.problem
    segment.write_bytes(whole)

    first, last = sorted(folder.glob("weights-*"))[:2]
    last.write_bytes(first.read_bytes())
    with pytest.raises(StoreError, match=f"{last.name} is damaged .* another run or"):
        store.weights(SPEC.run_key, store.weights_epochs(SPEC.run_key)[1])


def test_copies_beside_the_files_of_a_run_are_left_alone(store):
    expected = read_all(store, SPEC.run_key)
    for path in files_of(store)[1:]:
        copy = path.with_name(f"{path.stem} (1){path.suffix}")
        copy.write_bytes(path.read_bytes())
    assert read_all(store, SPEC.run_key) == expected
    assert verify_store(store) == []
