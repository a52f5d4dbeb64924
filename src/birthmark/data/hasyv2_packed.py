"""The one file in which HASYv2 is kept: a bit a pixel, all ten folds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from birthmark.errors import DataError
from birthmark.foreign_files import damage_named, read_npz
from birthmark.shapes import Array

SIDE = 32
MOST_BYTES = 100_000_000  # of an array: the bits of all images have 22 MB


@dataclass(frozen=True)
class PackedImages:
    """Black and white images in the order of their numbers (`v2-00000.png`, ...)."""

    ink_bits: Array  # [N, 128] uint8, eight pixels a byte, row by row: 1 = ink
    y: Array  # [N] uint16, row of symbols.csv
    fold: Array  # [N] uint8, 1 ... 10: the fold in whose test set the image lies

    @property
    def checksum(self) -> str:
        """SHA-256 of ink bits, labels (little-endian uint16) and folds."""
        digest = hashlib.sha256()
        for array, kind in ((self.ink_bits, "u1"), (self.y, "<u2"), (self.fold, "u1")):
            digest.update(np.ascontiguousarray(array, kind).data)
        return digest.hexdigest()


def read_packed(path: Path) -> PackedImages:
    """The images in a npz file, of the right types and shapes.

    Raises:
        DataError: The file cannot be read, or is damaged, or is another kind of file.
    """
    with damage_named(path, DataError):
        arrays = read_npz(path, ("ink_bits", "y", "fold"), MOST_BYTES)
    packed = PackedImages(**arrays)
    count = packed.y.size
    for name, shape, kind in (
        ("ink_bits", (count, SIDE * SIDE // 8), np.uint8),
        ("y", (count,), np.uint16),
        ("fold", (count,), np.uint8),
    ):
        array = getattr(packed, name)
        if array.shape != shape or array.dtype != kind:
            raise DataError(
                f"{path}: {name} is {array.dtype} of shape {array.shape}, expected "
                f"{np.dtype(kind)} of {shape}: get the file anew"
            )
    return packed


def write_packed(path: Path, packed: PackedImages) -> None:
    """Write a npz file that `read_packed` reads."""
    with path.open("wb") as file:
        np.savez_compressed(
            file, ink_bits=packed.ink_bits, y=packed.y, fold=packed.fold
        )
