"""What the catalogue says about a data set, and what reading one gives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from birthmark.errors import DataError
from birthmark.shapes import Array


@dataclass(frozen=True)
class Examples:
    """The whole of a data set in one split, in the order of its files."""

    x_train: Array  # [N, I] uint8
    y_train: Array  # [N] int64
    x_test: Array  # [N, I] uint8
    y_test: Array  # [N] int64

    @property
    def checksum(self) -> str:
        """SHA-256 of the bytes of all pixels and labels, training set first."""
        digest = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(array.data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Published:
    """A file as its publisher offers it, and the name of the file kept of it."""

    name: str
    kept: str
    urls: tuple[str, ...]  # mirrors, tried in this order
    md5: str = ""  # of the unpacked bytes, where the reader goes by them

    @property
    def names(self) -> tuple[str, ...]:
        """Under which the kept file may lie in a folder, its own name first.

        Unpacked, `train-images-idx3-ubyte` is also called `train-images.idx3-ubyte`.
        """
        if not self.md5:
            return (self.kept,)
        bare = self.kept.removesuffix(".gz")
        dotted = bare.replace("-idx", ".idx")
        return (self.kept, bare, dotted, f"{dotted}.gz")


@dataclass(frozen=True)
class Entry:
    """One data set of the catalogue."""

    name: str
    title: str
    licence: str
    image_shape: tuple[int, int]
    num_classes: int
    num_train: int  # in fold 1, where there are folds
    num_test: int
    # from kept files by name, and the fold
    read: Callable[[Entry, Mapping[str, Path], int], Examples]
    # check one file, keep its content in a folder; the names it is kept under
    keep: Callable[[Entry, Path, Path], tuple[str, ...]] | None = None  # embedded
    files: tuple[Published, ...] = ()
    num_folds: int = 1
    num_channels: int = 1
    full_scale: int = 255  # the pixel value that becomes 1

    @property
    def num_inputs(self) -> int:
        """Numbers of one image: pixels times channels."""
        return self.num_channels * prod(self.image_shape)

    @property
    def folder_names(self) -> tuple[str, ...]:
        """Names that a folder with the files of this data set may have."""
        return tuple(dict.fromkeys((self.name, self.name.replace("_", "-"))))


def check_labels(y_N: Array, num_classes: int, path: Path) -> None:
    """Refuse labels that no class of the data set has.

    Raises:
        DataError: A label is not in 0 ... num_classes - 1.
    """
    if y_N.size and (y_N.min() < 0 or y_N.max() >= num_classes):
        raise DataError(
            f"{path}: labels from {y_N.min()} to {y_N.max()} lie outside the classes "
            f"0 to {num_classes - 1}: get the file anew"
        )
