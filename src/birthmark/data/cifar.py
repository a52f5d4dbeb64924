"""CIFAR-10: 60,000 colour photographs, 32x32, of ten classes.

A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009). The binary
version: records of one byte for the class and 3072 for the pixels, red, green, blue,
each row by row.
"""

import hashlib
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from birthmark.data.entries import Entry, Examples, check_labels
from birthmark.data.folders import replacing
from birthmark.data.wrappings import find_contents
from birthmark.errors import DataError
from birthmark.foreign_files import damage_named, read_at_most, read_npz
from birthmark.shapes import Array

ARCHIVE = "cifar-10-binary.tar.gz"
ARCHIVE_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
PART = "cifar10_12k.npz"
# of its pixels and labels, as `Examples` has them
PART_SHA256 = "08f5b99f9dcf04aec2bc327148e2d3f4416a1d1cd7c49ef1ffc633a2d405b93f"
_NAMES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
_PIXELS = (3, 32, 32)
MOST_BATCH = 10_000 * (1 + 3072)  # bytes
MOST_BYTES = 200_000_000  # of the archive, which has 170 MB, and of an array


def read_cifar10(entry: Entry, paths: Mapping[str, Path], fold: int) -> Examples:
    """The archive as its author published it, checked as a whole.

    Raises:
        DataError: It is damaged, or another file.
    """
    return _read_archive(entry, paths[ARCHIVE])


def read_cifar10_part(entry: Entry, paths: Mapping[str, Path], fold: int) -> Examples:
    """The first training batch and the first 2,000 test images, from a npz file.

    Raises:
        DataError: It is damaged, or another file.
    """
    path = paths[PART]
    with damage_named(path, DataError):
        names = ("x_train", "y_train", "x_test", "y_test")
        arrays = read_npz(path, names, MOST_BYTES)
        examples = Examples(
            _flat(arrays["x_train"]),
            arrays["y_train"].astype(np.int64),
            _flat(arrays["x_test"]),
            arrays["y_test"].astype(np.int64),
        )
    _check("sha256 of pixels and labels", examples.checksum, PART_SHA256, path)
    return examples


def keep_cifar10(entry: Entry, path: Path, folder: Path) -> tuple[str, ...]:
    """Copy the archive into a folder.

    Raises:
        DataError: It is damaged, another file, or was packed anew: only of the archive
            as published is a checksum known.
    """
    if path.is_dir():
        raise DataError(
            f"{path}: no {ARCHIVE} in it; of its files no checksum is known: get the "
            "archive as published"
        )
    _read_archive(entry, path)
    with replacing(folder / ARCHIVE) as temporary:
        temporary.write_bytes(path.read_bytes())
    return (ARCHIVE,)


def keep_cifar10_part(entry: Entry, path: Path, folder: Path) -> tuple[str, ...]:
    """Take the part into a folder: out of a npz file, or of the publisher's files.

    These are known by content: the archive, packed anew in any way, or a folder in
    which its files lie unpacked.

    Raises:
        DataError: It is damaged, or holds something else.
    """
    if path.is_file() and path.suffix == ".npz":
        part = read_cifar10_part(entry, {PART: path}, 1)
    else:
        part = _find_part(entry, path)
    with replacing(folder / PART) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            x_train=_images(part.x_train),
            y_train=part.y_train.astype(np.uint8),
            x_test=_images(part.x_test),
            y_test=part.y_test.astype(np.uint8),
        )
    return (PART,)


def _find_part(entry: Entry, path: Path) -> Examples:
    """The first records of the first batch, and of the test batch."""
    wanted = {_NAMES[0]: entry.num_train, _NAMES[-1]: entry.num_test}
    found = {}
    for name, content in find_contents(path, MOST_BATCH, _NAMES):
        for batch, count in wanted.items():
            if Path(name).name.startswith(batch):
                size = count * (1 + int(np.prod(_PIXELS)))
                with damage_named(path, DataError):
                    found[batch] = _parse_batch(content[:size])
    if len(found) < len(wanted):
        missing = ", ".join(name for name in wanted if name not in found)
        raise DataError(f"{path}: no {missing} of {entry.name} in it")
    part = _to_examples(*(found[name] for name in wanted))
    _check("sha256 of pixels and labels", part.checksum, PART_SHA256, path)
    return part


def _read_archive(entry: Entry, path: Path) -> Examples:
    with damage_named(path, DataError):
        content = read_at_most(path, MOST_BYTES)
        _check("sha256", hashlib.sha256(content).hexdigest(), ARCHIVE_SHA256, path)
        with tarfile.open(path, "r:gz") as archive:
            batches = [_read_batch(archive, name) for name in _NAMES]
    records = np.concatenate(batches[:-1]), batches[-1]
    for half in records:
        check_labels(half[:, 0], entry.num_classes, path)
    return _to_examples(*records)


def _to_examples(train: Array, test: Array) -> Examples:
    """From records, [N, 1 + 3072] each."""
    (x_train, y_train), (x_test, y_test) = (
        (np.ascontiguousarray(half[:, 1:]), half[:, 0].astype(np.int64))
        for half in (train, test)
    )
    return Examples(x_train, y_train, x_test, y_test)


def _read_batch(archive: tarfile.TarFile, name: str) -> Array:
    """The records of one file, [N, 1 + 3072]."""
    file = archive.extractfile(f"cifar-10-batches-bin/{name}")
    return _parse_batch(file.read() if file else b"")


def _parse_batch(content: bytes) -> Array:
    return np.frombuffer(content, np.uint8).reshape(-1, 1 + int(np.prod(_PIXELS)))


def _flat(x: Array) -> Array:
    """Images [N, height, width, 3] as rows, channel by channel."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1)).reshape(len(x), -1)


def _images(x_NI: Array) -> Array:
    return np.moveaxis(x_NI.reshape(-1, *_PIXELS), 1, -1)


def _check(what: str, got: str, expected: str, path: Path) -> None:
    if got != expected:
        raise DataError(
            f"{path}: wrong checksum: expected {what} {expected}, got {got}: get it "
            "anew"
        )
