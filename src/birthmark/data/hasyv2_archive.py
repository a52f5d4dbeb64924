"""`HASYv2.tar.bz2` as its author published it: PNG images and CSV tables.

`hasy-data/v2-NNNNN.png` are the images, `hasy-data-labels.csv` has their symbols,
`symbols.csv` the symbols in the order of the classes, and
`classification-task/fold-K/test.csv` the images of the test set of fold K (what lies in
no other test set trains there, so that the ten tell everything).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from birthmark.data.hasyv2_packed import SIDE, PackedImages
from birthmark.data.wrappings import is_clutter, unwrap
from birthmark.errors import DataError
from birthmark.foreign_files import damage_named, read_at_most
from birthmark.shapes import Array

MOST_BYTES = 20_000_000  # of a table; its largest has 8 MB


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
            _take(parts, path, name, content)
        return _assemble(parts, path)


def _from_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.rglob("*")):
        wanted = file.suffix in (".png", ".csv") and not is_clutter(file.name)
        if wanted and file.is_file():
            yield file.as_posix(), read_at_most(file, MOST_BYTES)


def _take(parts: _Parts, path: Path, name: str, content: bytes) -> None:
    if image := re.search(r"hasy-data/v2-(\d+)\.png$", name):
        parts.ink_bits[int(image[1])] = _pack(content, f"{path}: {name}")
    elif name.endswith("hasy-data-labels.csv"):
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
