"""HASYv2: 168,233 handwritten symbols, 32x32, of 369 classes, in ten official folds.

M. Thoma, The HASYv2 dataset, arXiv 1701.08380 (2017). Pixels are 255 for white paper
and 0 for ink, the opposite of MNIST.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from birthmark.data.entries import Entry, Examples, check_labels
from birthmark.data.folders import replacing
from birthmark.data.hasyv2_archive import read_archive
from birthmark.data.hasyv2_packed import PackedImages, read_packed, write_packed
from birthmark.errors import DataError
from birthmark.shapes import Array

PACKED = "hasyv2_packed.npz"
CONTENT_SHA256 = "0d847ca1964072db22417f2ff28b4d0e30a6cfe1970f563383f75b9ad1ba34bc"


def read_hasyv2(entry: Entry, paths: Mapping[str, Path], fold: int) -> Examples:
    """All images, those of one fold as the test set.

    Raises:
        DataError: The file is damaged, or does not hold HASYv2.
    """
    path = paths[PACKED]
    packed = read_packed(path)
    _check_content(entry, packed, path)
    test_N = packed.fold == fold
    y_N = packed.y.astype(np.int64)
    return Examples(
        unpack_pixels(packed.ink_bits[~test_N]),
        y_N[~test_N],
        unpack_pixels(packed.ink_bits[test_N]),
        y_N[test_N],
    )


def keep_hasyv2(entry: Entry, path: Path, folder: Path) -> tuple[str, ...]:
    """Pack an archive, the folder that it unpacks to, or a packed file into a folder.

    Raises:
        DataError: It is damaged, or does not hold HASYv2.
    """
    is_packed = path.is_file() and path.suffix == ".npz"
    packed = read_packed(path) if is_packed else read_archive(path)
    _check_content(entry, packed, path)
    with replacing(folder / PACKED) as temporary:
        write_packed(temporary, packed)
    return (PACKED,)


def unpack_pixels(ink_bits: Array) -> Array:
    """Pixels [N, 1024] uint8 from [N, 128] bits: 0 for ink, 255 for paper."""
    bits = np.unpackbits(ink_bits, axis=1)
    return np.subtract(bits, 1, out=bits)  # uint8 wraps around: 0 - 1 = 255


def _check_content(entry: Entry, packed: PackedImages, path: Path) -> None:
    check_labels(packed.y, entry.num_classes, path)
    if packed.checksum != CONTENT_SHA256:
        raise DataError(
            f"{path}: wrong checksum: expected sha256 {CONTENT_SHA256} of ink bits, "
            f"labels and folds, got {packed.checksum}: get HASYv2 anew"
        )
