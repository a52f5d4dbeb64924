"""CIFAR-10: the archive as published, and the part of it that is quick to train."""

import gzip
import hashlib
import io
import shutil
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from birthmark.data import (
    cifar,
    describe_dataset,
    fetch_dataset,
    import_dataset,
    load_dataset,
    verify_dataset,
)
from birthmark.data.catalogue import CATALOGUE
from birthmark.errors import DataError
from birthmark.spec import DataSpec

PER_BATCH = 6
NAMES = [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("BIRTHMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BIRTHMARK_DATA", "")
    return tmp_path


@pytest.fixture
def images():
    """[36, height, width, 3] and classes: five batches for training, one for tests."""
    draws = np.random.default_rng(5)
    x = draws.integers(0, 256, (6 * PER_BATCH, 32, 32, 3), dtype=np.uint8)
    return x, (np.arange(len(x)) % 10).astype(np.uint8)


@pytest.fixture
def archive(places, images, monkeypatch):
    """A small archive of the published form, which the catalogue takes for the one."""
    for name, content in batches(*images):
        monkeypatch.setitem(cifar.FILES, name, hashlib.sha1(content).hexdigest())
    monkeypatch.setattr(cifar, "PER_FILE", PER_BATCH)
    x, y = images
    part = hashlib.sha256()
    for rows in (slice(0, 6), slice(30, 34)):
        part.update(x[rows].transpose(0, 3, 1, 2).tobytes())
        part.update(y[rows].astype("<i8").tobytes())
    monkeypatch.setattr(cifar, "PART_SHA256", part.hexdigest())
    for name, train, test in (("cifar10", 30, 6), ("cifar10_12k", 6, 4)):
        small = replace(CATALOGUE[name], num_train=train, num_test=test)
        monkeypatch.setitem(CATALOGUE, name, small)
    return write_archive(places / "cifar.tgz", *images)


def batches(x, y):
    """The publisher's records: a byte for the class, then red, green, blue."""
    for number, name in enumerate(NAMES):
        rows = range(number * PER_BATCH, (number + 1) * PER_BATCH)
        yield (
            name,
            b"".join(
                bytes([y[row]]) + b"".join(x[row, :, :, c].tobytes() for c in range(3))
                for row in rows
            ),
        )


def write_archive(path, x, y, mode="w:gz", folder="cifar-10-batches-bin/"):
    with tarfile.open(path, mode) as tar:
        for name, content in batches(x, y):
            member = tarfile.TarInfo(f"{folder}{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def as_images(x_NI):
    return x_NI.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def test_the_archive_gives_its_images_channel_by_channel(archive, images):
    import_dataset("cifar10", archive)
    dataset = load_dataset("cifar10")
    x, y = images
    np.testing.assert_array_equal(as_images(dataset.x_train), x[:30])
    np.testing.assert_array_equal(as_images(dataset.x_test), x[30:])
    assert dataset.y_train.tolist() == y[:30].tolist()
    assert dataset.y_test.tolist() == y[30:].tolist()
    assert dataset.example_shape == (3, 32, 32)
    assert verify_dataset("cifar10").num_test == 6


def test_the_part_is_taken_out_of_the_archive(archive, images, places):
    import_dataset("cifar10_12k", archive)
    with np.load(places / "cache" / "cifar10-12k" / "cifar10_12k.npz") as kept:
        np.testing.assert_array_equal(kept["x_train"], images[0][:6])
        np.testing.assert_array_equal(kept["x_test"], images[0][30:34])
    dataset = load_dataset("cifar10_12k")
    np.testing.assert_array_equal(as_images(dataset.x_test), images[0][30:34])


def _as_tar_xz(folder, images):
    write_archive(folder / "cifar (1).tar.xz", *images, "w:xz", "")


def _as_zip(folder, images):
    with zipfile.ZipFile(folder / "archive.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in batches(*images):
            file.writestr(f"somewhere/else/{name}", content)


def _unpacked(folder, images):
    deep = folder / "cifar-10-batches-bin"
    deep.mkdir()
    (deep / "readme.html").write_text("<html>")
    for name, content in batches(*images):
        (deep / name).write_bytes(content)


def _each_packed(folder, images):
    for name, content in batches(*images):
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))


def _renamed(folder, images):
    for number, (_, content) in enumerate(batches(*images)):
        (folder / f"part {number}").write_bytes(content)
    (folder / "notes.zip").write_bytes(b"PK\x03\x04 cut")


def _as_arrays(folder, images):
    x, y = images
    arrays = {"x_train": x[:30], "y_train": y[:30, None], "x_test": x[30:]}
    np.savez(folder / "cifar10.npz", **arrays, y_test=y[30:, None])


@pytest.mark.parametrize(
    "lay", [_as_tar_xz, _as_zip, _unpacked, _each_packed, _renamed, _as_arrays]
)
def test_all_and_the_part_are_taken_out_of_any_wrapping_by_content(
    archive, images, places, lay
):
    folder = places / "down"
    folder.mkdir()
    lay(folder, images)
    (path, *more) = folder.iterdir()
    for name, num_train, num_test in (("cifar10_12k", 6, 4), ("cifar10", 30, 6)):
        assert import_dataset(name, folder if more else path).is_here
        dataset = load_dataset(name)
        np.testing.assert_array_equal(as_images(dataset.x_train), images[0][:num_train])
        x_test = images[0][30 : 30 + num_test]
        np.testing.assert_array_equal(as_images(dataset.x_test), x_test)
    shutil.rmtree(places / "cache")
    shutil.rmtree(folder)
    folder.mkdir()
    images[0][3, 1, 2, 0] ^= 1  # one bit of another image
    lay(folder, images)
    (path, *more) = folder.iterdir()
    for name in ("cifar10", "cifar10_12k"):
        with pytest.raises(DataError, match=r"wrong checksum|no data_batch_1\.bin"):
            import_dataset(name, folder if more else path)
    assert not list((places / "cache").rglob("*.*"))


def test_an_archive_in_a_named_folder_is_found(archive, places, monkeypatch):
    (places / "down").mkdir()
    archive.rename(places / "down" / cifar.ARCHIVE)
    monkeypatch.setenv("BIRTHMARK_DATA", str(places / "down"))
    assert fetch_dataset("cifar10").is_here
    assert fetch_dataset("cifar10_12k").is_here


def test_another_archive_is_refused_in_one_line_and_not_kept(archive, images, places):
    images[0][33, 1, 2, 0] ^= 1
    write_archive(places / "other.tgz", *images)
    match = "wrong checksum: expected sha1 .* of test_batch.bin, got .*: get it anew"
    with pytest.raises(DataError, match=match) as caught:
        import_dataset("cifar10", places / "other.tgz")
    assert "\n" not in str(caught.value)
    assert not list((places / "cache").rglob("*.*"))


def test_a_cut_npz_file_is_refused_in_one_line(places, monkeypatch):
    (places / "data").mkdir()
    (places / "data" / cifar.PART).write_bytes(b"PK\x03\x04 cut")
    monkeypatch.setenv("BIRTHMARK_DATA", str(places / "data"))
    with pytest.raises(DataError, match="cut short") as caught:
        load_dataset("cifar10_12k")
    assert "\n" not in str(caught.value)


def test_labels_that_are_no_numbers_of_classes_are_named(places, images):
    x, y = images
    halves = {"x_train": x[:30], "x_test": x[30:], "y_test": y[30:]}
    np.savez(places / "a.npz", **halves, y_train=np.eye(10)[y[:30]])
    with pytest.raises(DataError, match="300 labels for 30 images in y_train"):
        import_dataset("cifar10", places / "a.npz")


def test_the_real_part_is_what_its_file_holds(real_data):
    dataset = load_dataset("cifar10_12k")
    with np.load(real_data / "cifar10_12k.npz") as file:
        np.testing.assert_array_equal(as_images(dataset.x_train), file["x_train"])
        np.testing.assert_array_equal(as_images(dataset.x_test), file["x_test"])
        assert dataset.y_train.tolist() == file["y_train"].tolist()
    # the publisher's first file, by the checksum that is public
    first = np.column_stack([dataset.y_train.astype(np.uint8), dataset.x_train])
    assert hashlib.sha1(first).hexdigest() == cifar.FILES["data_batch_1.bin"]
    # its first labels, as the publisher's page shows them
    assert dataset.y_train[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    facts = describe_dataset("cifar10_12k")
    assert (facts.num_train, facts.num_test) == (10_000, 2_000)
    assert len(dataset.y_test) == 2_000
    standardized = load_dataset(
        DataSpec(name="cifar10_12k", preprocessing="standardized", examples_per_class=9)
    )
    values = standardized.x_train / 255
    assert standardized.mean == pytest.approx(values.mean(), rel=1e-12)
    assert standardized.std == pytest.approx(values.std(), rel=1e-12)
