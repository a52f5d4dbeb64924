"""HASYv2: 168,233 handwritten symbols, 32x32, of 369 classes, in ten official folds.

M. Thoma, The HASYv2 dataset, arXiv 1701.08380 (2017). Pixels are 255 for white paper
and 0 for ink, the opposite of MNIST.

In `HASYv2.tar.bz2`, as its author published it, `hasy-data/v2-NNNNN.png` are the
images, `hasy-data-labels.csv` has their symbols, `symbols.csv` the symbols in the order
of the classes, and `classification-task/fold-K/test.csv` the images of the test set of
fold K (what lies in no other test set trains there, so that the ten tell everything).
"""

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from birthmark.data.entries import Entry, Examples, check_labels
from birthmark.data.folders import replacing
from birthmark.data.hasyv2_packed import SIDE, PackedImages, read_packed, write_packed
from birthmark.data.wrappings import unwrap
from birthmark.errors import DataError
from birthmark.foreign_files import damage_named, read_at_most
from birthmark.shapes import Array

PACKED = "hasyv2_packed.npz"
MOST_BYTES = 20_000_000  # of a table; its largest has 8 MB
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


@dataclass
class _Parts:
    """What was met so far; images are known by their numbers."""

    ink_bits: dict[int, Array] = field(default_factory=dict)  # [128] uint8
    symbol: dict[int, str] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    fold: dict[int, int] = field(default_factory=dict)


def read_archive(path: Path) -> PackedImages:
    """All images in the order of their numbers, whatever their order in the archive.

    Args:
        path: The archive, however it was packed, or the folder that it unpacks to.

    Raises:
        DataError: The archive is damaged or incomplete.
    """
    parts = _Parts()
    contents = _from_folder(path) if path.is_dir() else unwrap(path, MOST_BYTES)
    with damage_named(path, DataError):
        for name, content in contents:
            with damage_named(f"{path}: {name}", DataError):
                _take(parts, path, name, content)
        return _assemble(parts, path)


def _from_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.rglob("*")):
        if file.suffix in (".png", ".csv") and file.is_file():
            yield file.as_posix(), read_at_most(file, MOST_BYTES)


def _take(parts: _Parts, path: Path, name: str, content: bytes) -> None:
    if image := re.search(r"hasy-data/v2-(\d+)\.png$", name):
        parts.ink_bits[int(image[1])] = _pack(content, f"{path}: {name}")
    elif re.search(r"(^|/)hasy-data-labels\.csv$", name):  # and not ._, of macOS
        parts.symbol = _symbols_by_image(content)
    elif test := re.search(r"classification-task/fold-(\d+)/test\.csv$", name):
        parts.fold |= dict.fromkeys(_symbols_by_image(content), int(test[1]))
    elif re.search(r"(^|/)symbols\.csv$", name):
        rows = content.decode().splitlines()[1:]
        parts.classes = {row.split(",")[0]: k for k, row in enumerate(rows)}


def _pack(png: bytes, name: str) -> Array:
    with Image.open(io.BytesIO(png)) as image:
        if image.size != (SIDE, SIDE):
            raise DataError(f"{name} is not {SIDE}x{SIDE}: get HASYv2.tar.bz2 anew")
        pixels = np.asarray(image.convert("L"))
    return np.packbits(pixels == 0)


def _symbols_by_image(table: bytes) -> dict[int, str]:
    """The columns path and symbol_id, which come before any quoted LaTeX."""
    rows = re.findall(r"^[^,\n]*v2-(\d+)\.png,(\d+),", table.decode(), re.MULTILINE)
    return {int(number): symbol for number, symbol in rows}


def _assemble(parts: _Parts, path: Path) -> PackedImages:
    numbers = sorted(parts.ink_bits)
    try:
        y = [parts.classes[parts.symbol[number]] for number in numbers]
        fold = [parts.fold[number] for number in numbers]
    except KeyError as error:
        raise DataError(
            f"{path}: nothing in its tables about image or symbol {error.args[0]}: "
            "get HASYv2.tar.bz2 anew"
        ) from error
    if not numbers:
        raise DataError(f"{path}: no hasy-data/v2-NNNNN.png in it: not HASYv2.tar.bz2")
    ink_bits = np.stack([parts.ink_bits[number] for number in numbers])
    return PackedImages(ink_bits, np.array(y, np.uint16), np.array(fold, np.uint8))
