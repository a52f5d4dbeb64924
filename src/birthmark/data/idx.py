"""MNIST and its kin: four gz files in the IDX format.

An IDX file starts with 0, 0, the type (8: uint8), the number of dimensions, and each
dimension as a big-endian 32-bit number (Y. LeCun, C. Cortes, C. Burges).
Files are known by the bytes unpacked: distributors pack them anew, with other headers.
"""

import gzip
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from birthmark.data.entries import Entry, Examples, Published, check_labels
from birthmark.data.folders import replacing
from birthmark.data.wrappings import unwrap
from birthmark.errors import DataError
from birthmark.shapes import Array

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
TEST_IMAGES = "t10k-images-idx3-ubyte.gz"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"


def read_idx_files(entry: Entry, paths: Mapping[str, Path], fold: int) -> Examples:
    """The four files, each checked against what the catalogue knows of it.

    Raises:
        DataError: A file is damaged, or is not what its name promises.
    """
    arrays = {
        file.name: _read_file(entry, file, paths[file.name]) for file in entry.files
    }
    return Examples(
        arrays[TRAIN_IMAGES],
        arrays[TRAIN_LABELS],
        arrays[TEST_IMAGES],
        arrays[TEST_LABELS],
    )


def keep_idx_files(entry: Entry, path: Path, folder: Path) -> tuple[str, ...]:
    """Keep each file of the data set that lies in another, under its own name.

    They are known by the checksum of their unpacked bytes: names and packing do not
    matter (gz, bz2, xz, zip, tar, npz, or none).

    Raises:
        DataError: It is damaged, or holds none of the files of the data set.
    """
    known = {file.md5: file for file in entry.files}
    kept, others = [], []
    for name, content in unwrap(path, _most_bytes(entry)):
        got = hashlib.md5(content).hexdigest()
        if got in known:
            with replacing(folder / known[got].kept) as temporary:
                temporary.write_bytes(gzip.compress(content, 1, mtime=0))
            kept.append(known[got].kept)
        else:
            others.append((name, content, got))
    if not kept:
        raise _nothing_known(entry, path, others)
    return tuple(kept)


def unpack(path: Path, most: int) -> bytes:
    """The unpacked bytes of one file, packed or not.

    Args:
        path: The file.
        most: The bytes that it holds at most; more are not read.

    Raises:
        DataError: It cannot be read, is damaged, or holds more.
    """
    contents = [content for _, content in unwrap(path, most)]
    if len(contents) != 1:
        raise DataError(f"{path}: not one file of up to {most:,} bytes: get it anew")
    return contents[0]


def _nothing_known(
    entry: Entry, path: Path, others: Sequence[tuple[str, bytes, str]]
) -> DataError:
    if not others:
        return DataError(
            f"{path}: nothing in it has the size of a file of {entry.name}: "
            f"it needs one of {', '.join(file.name for file in entry.files)}"
        )
    name, content, got = others[0]
    _parse(content, path)  # says more, where it is not an IDX file at all
    wanted = {file.name: file.md5 for file in entry.files}.get(Path(name).name)
    expected = f"expected {wanted}" if wanted else f"no file of {entry.name} has it"
    return DataError(
        f"{path}: the md5 of its unpacked bytes is {got}, {expected}: get the file anew"
    )


def _most_bytes(entry: Entry) -> int:
    """Of its largest file, unpacked."""
    return 16 + max(entry.num_train, entry.num_test) * entry.num_inputs


def _read_file(entry: Entry, file: Published, path: Path) -> Array:
    unpacked = unpack(path, _most_bytes(entry))
    array = _parse(unpacked, path)
    count = entry.num_train if file.name.startswith("train") else entry.num_test
    images = file.name in (TRAIN_IMAGES, TEST_IMAGES)
    wanted = (count, *entry.image_shape) if images else (count,)
    if array.shape != wanted:
        raise DataError(
            f"{path}: shape {array.shape}, expected {wanted}: it is not {file.name} "
            f"of {entry.name}; get the file anew"
        )
    if not images:
        check_labels(array, entry.num_classes, path)
    got = hashlib.md5(unpacked).hexdigest()
    if got != file.md5:
        raise DataError(
            f"{path}: wrong checksum: expected md5 {file.md5} of the unpacked bytes, "
            f"got {got}: delete it and get it anew"
        )
    return array.reshape(count, -1) if images else array.astype(np.int64)


def _parse(unpacked: bytes, path: Path) -> Array:
    """An array over the bytes themselves, hence read-only."""
    num_axes = unpacked[3] if len(unpacked) > 3 else math.inf
    if unpacked[:3] != b"\0\0\x08" or len(unpacked) < 4 + 4 * num_axes:
        raise DataError(
            f"{path}: not an IDX file of uint8 (it starts with "
            f"{unpacked[:4].hex(' ') or 'nothing'}): get the file anew"
        )
    header = 4 + 4 * unpacked[3]
    shape = tuple(np.frombuffer(unpacked[4:header], ">u4").tolist())
    if len(unpacked) != header + math.prod(shape):
        raise DataError(
            f"{path}: {len(unpacked)} bytes for the shape {shape}, expected "
            f"{header + math.prod(shape)}: delete it and get it anew"
        )
    return np.frombuffer(unpacked, np.uint8, offset=header).reshape(shape)
