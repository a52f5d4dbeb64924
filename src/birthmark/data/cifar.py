"""CIFAR-10: 60,000 colour photographs, 32x32, of ten classes.

A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009). The binary
version: six files of records, one byte for the class and 3072 for the pixels, red,
green, blue, each row by row. They are known by content: names and packing do not
matter.
"""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np

from birthmark.data.entries import Entry, Examples
from birthmark.data.folders import replacing
from birthmark.data.wrappings import find_contents
from birthmark.errors import DataError
from birthmark.foreign_files import damage_named, read_npz
from birthmark.shapes import Array

ARCHIVE = "cifar-10-binary.tar.gz"
PART = "cifar10_12k.npz"
# of its pixels and labels, as `Examples` has them
PART_SHA256 = "08f5b99f9dcf04aec2bc327148e2d3f4416a1d1cd7c49ef1ffc633a2d405b93f"
# sha1 of each file, as Apache MXNet publishes them (gluon.data.vision.CIFAR10)
FILES = {
    "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
    "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
    "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
    "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
    "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
}
_FIRST, *_, _LAST = FILES
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_PIXELS = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32  # bytes
PER_FILE = 10_000  # records
MOST_BYTES = 200_000_000  # of an array


def read_cifar10(entry: Entry, paths: Mapping[str, Path], fold: int) -> Examples:
    """The six files, each checked by its content.

    Raises:
        DataError: One is missing or damaged.
    """
    files = [_parse(file) for file in _find_files(paths[ARCHIVE], FILES).values()]
    return _to_examples(np.concatenate(files[:-1]), files[-1])


def read_cifar10_part(entry: Entry, paths: Mapping[str, Path], fold: int) -> Examples:
    """The first training batch and the first 2,000 test images, from a npz file.

    Raises:
        DataError: It is damaged, or another file.
    """
    part = _to_examples(*_read_arrays(paths[PART]))
    _check_part(part, paths[PART])
    return part


def keep_cifar10(entry: Entry, path: Path, folder: Path) -> tuple[str, ...]:
    """Pack the six files into a folder as their publisher does.

    They may come packed in any way, lie in a folder, or be the arrays x_train, y_train,
    x_test and y_test of a npz file.

    Raises:
        DataError: One is missing or damaged.
    """
    files = _find_files(path, FILES)
    with (
        replacing(folder / ARCHIVE) as temporary,
        gzip.GzipFile(temporary, "wb", 1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return (ARCHIVE,)


def keep_cifar10_part(entry: Entry, path: Path, folder: Path) -> tuple[str, ...]:
    """Take the part into a folder: out of its own npz file, or of all of CIFAR-10.

    Raises:
        DataError: It is damaged, or holds something else.
    """
    if _is_npz(path):
        train, test = _read_arrays(path)
    else:
        files = _find_files(path, (_FIRST, _LAST))
        train, test = (_parse(file) for file in files.values())
    part = _to_examples(train[: entry.num_train], test[: entry.num_test])
    _check_part(part, path)
    with replacing(folder / PART) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            x_train=_images(part.x_train),
            y_train=part.y_train.astype(np.uint8),
            x_test=_images(part.x_test),
            y_test=part.y_test.astype(np.uint8),
        )
    return (PART,)


def _find_files(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """The files of the publisher that have these names, in this order."""
    known = {FILES[name]: name for name in names}
    found, damaged = {}, {}
    for name, content in _contents(path):
        got = hashlib.sha1(content).hexdigest()
        if got in known:
            found[known[got]] = content
        elif alike := [n for n in names if Path(name).name.startswith(n)]:
            damaged[alike[0]] = got
        if len(found) == len(names):
            return {name: found[name] for name in names}
    missing = [name for name in names if name not in found]
    for name in missing:
        if name in damaged:
            raise DataError(
                f"{path}: wrong checksum: expected sha1 {FILES[name]} of {name}, got "
                f"{damaged[name]}: get it anew"
            )
    raise DataError(
        f"{path}: no {', '.join(missing)} of CIFAR-10's binary version in it: get "
        f"{ARCHIVE}"
    )


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """What may be the publisher's files, with their names."""
    if not _is_npz(path):
        yield from find_contents(path, PER_FILE * _RECORD, FILES)
        return
    for half in _read_arrays(path):
        for start in range(0, len(half), PER_FILE):
            yield path.name, half[start : start + PER_FILE].tobytes()


def _is_npz(path: Path) -> bool:
    return path.suffix == ".npz" and path.is_file()


def _read_arrays(path: Path) -> tuple[Array, Array]:
    """Records of both halves, [N, 1 + 3072] uint8, from the arrays of a npz file."""
    with damage_named(path, DataError):
        arrays = read_npz(path, _ARRAYS, MOST_BYTES)
        halves = []
        for half in ("train", "test"):
            x, y = arrays[f"x_{half}"], arrays[f"y_{half}"]
            if y.size != len(x):
                raise DataError(
                    f"{path}: {y.size} labels for {len(x)} images in y_{half}: give "
                    "the number of the class of each"
                )
            if x.shape[1:] == (*_PIXELS[1:], _PIXELS[0]):
                x = np.moveaxis(x, -1, 1)
            records = np.column_stack([y.reshape(-1), x.reshape(len(y), -1)])
            halves.append(records.astype(np.uint8).reshape(-1, _RECORD))
    return halves[0], halves[1]


def _parse(content: bytes) -> Array:
    return np.frombuffer(content, np.uint8).reshape(-1, _RECORD)


def _to_examples(train: Array, test: Array) -> Examples:
    """From records, [N, 1 + 3072] each."""
    (x_train, y_train), (x_test, y_test) = (
        (np.ascontiguousarray(half[:, 1:]), half[:, 0].astype(np.int64))
        for half in (train, test)
    )
    return Examples(x_train, y_train, x_test, y_test)


def _images(x_NI: Array) -> Array:
    return np.moveaxis(x_NI.reshape(-1, *_PIXELS), 1, -1)


def _check_part(part: Examples, path: Path) -> None:
    if part.checksum != PART_SHA256:
        raise DataError(
            f"{path}: wrong checksum: expected sha256 {PART_SHA256} of pixels and "
            f"labels, got {part.checksum}: get it anew"
        )
