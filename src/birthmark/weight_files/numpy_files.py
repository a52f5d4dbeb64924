"""Arrays that NumPy saved: one `.npy`, or an `.npz` of several."""

import struct
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import torch

from birthmark.errors import WeightsError
from birthmark.foreign_files import parse_npy, read_entry, read_npy_header
from birthmark.shapes import Tensor
from birthmark.weight_files.stored import MappedFile, StoredTensor, WeightFile


def read_npz(path: Path) -> WeightFile:
    """The arrays of an `.npz`; those that are not compressed are mapped.

    Raises:
        WeightsError: It is damaged, or an array holds Python objects.
    """
    mapped = MappedFile(path)
    tensors: dict[str, StoredTensor] = {}
    notes = []
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if name == entry.filename or entry.is_dir():
                continue
            with archive.open(entry) as opened:
                header = _read_header(path, name, opened)
            stored = entry.compress_type == zipfile.ZIP_STORED
            start = content_of_zip(mapped, entry.header_offset) if stored else None
            tensors[name] = _tensor(mapped, name, header, start, entry.filename)
            if not stored:
                notes.append(f"{name} is compressed: it was read whole into memory")
    return WeightFile(path.name, "npz", tensors, tuple(notes))


def read_npy(path: Path) -> WeightFile:
    """The one array of an `.npy`.

    Raises:
        WeightsError: It is damaged, or holds Python objects.
    """
    mapped = MappedFile(path)
    with path.open("rb") as opened:
        header = _read_header(path, path.stem, opened)
    tensor = _tensor(mapped, path.stem, header, 0, "")
    return WeightFile(path.name, "npy", {path.stem: tensor})


def content_of_zip(mapped: MappedFile, header_offset: int) -> int:
    """Where the bytes of an entry of a zip begin that is stored as it is."""
    names = mapped.head(header_offset + 26, 4)
    name_size, extra_size = struct.unpack("<HH", names)
    return int(header_offset + 30 + name_size + extra_size)


_Header = tuple[tuple[int, ...], bool, np.dtype[np.generic], int]


def _read_header(path: Path, name: str, opened: IO[bytes]) -> _Header:
    """Shape, whether in Fortran's order, dtype, and bytes before the numbers."""
    try:
        shape, fortran, dtype = read_npy_header(opened)
    except Exception as error:
        raise WeightsError(f"{path}: {name} is no intact array of NumPy") from error
    if dtype.hasobject:
        raise WeightsError(
            f"{path}: {name} holds Python objects, and to load them could run code; "
            "save arrays of numbers"
        )
    return shape, fortran, dtype, opened.tell()


def _tensor(
    mapped: MappedFile, name: str, header: _Header, start: int | None, entry: str
) -> StoredTensor:
    shape, fortran, dtype, offset = header
    try:
        as_torch = torch.from_numpy(np.empty(0, dtype.newbyteorder("="))).dtype
    except TypeError:
        raise WeightsError(
            f"{mapped.path}: {name} is of {dtype}, which is no number that torch knows"
        ) from None
    if start is None or not dtype.isnative:

        def load() -> Tensor:
            return _read_whole(mapped.path, entry)

        return StoredTensor(name, shape, as_torch, load)
    stored = shape[::-1] if fortran else shape
    flat = mapped.tensor(name, start + offset, as_torch, stored)

    def view() -> Tensor:
        tensor = flat.load()
        return tensor.permute(*reversed(range(tensor.ndim))) if fortran else tensor

    return StoredTensor(name, shape, as_torch, view)


def _read_whole(path: Path, entry: str) -> Tensor:
    if entry:
        with zipfile.ZipFile(path) as archive:
            array = parse_npy(read_entry(archive, archive.getinfo(entry)))
    else:
        array = parse_npy(path.read_bytes())
    return torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))
