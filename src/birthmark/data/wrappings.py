"""What lies in a file, however it was packed: gz, bz2, xz, zip, tar, npz, or nothing.

Distributors pack the same bytes anew, and people unpack them. So contents are handed
out one by one, unpacked, and whoever knows the checksum of one takes it. Nothing is
unpacked beyond the size that is known: a small file may stand for terabytes.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from birthmark.errors import DataError
from birthmark.foreign_files import (
    damage_named,
    open_regular,
    parse_npy,
    read_entry,
)

MOST_MEMBERS = 1_000_000  # of an archive
MOST_TIMES = 64  # the largest content that is wanted, in all contents together
_OPENERS: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}


def unwrap(path: Path, most: int) -> Iterator[tuple[str, bytes]]:
    """Each content of a file, unpacked, with its name.

    An array of uint8 in a npz file comes as the IDX file that it would be.

    Args:
        path: Any file.
        most: Bytes of the largest content that is wanted; larger ones are left out.

    Raises:
        DataError: The file cannot be read, or is damaged.
    """
    with damage_named(path, DataError):
        total = 0
        for name, content in _contents(path, most):
            total += len(content)
            if total > MOST_TIMES * most:
                raise DataError(f"{path} unpacks to more than {MOST_TIMES * most:,}")
            yield name, content


def _contents(path: Path, most: int) -> Iterator[tuple[str, bytes]]:
    if zipfile.is_zipfile(path):
        yield from _from_zip(path, most)
        return
    with open_unpacked(path) as file:
        if _begins_tar(file.read(tarfile.BLOCKSIZE)):
            file.seek(0)
            yield from _from_tar(file, most)
            return
        file.seek(0)
        content = file.read(most + 1)
    if len(content) <= most:
        yield path.name, content


def open_unpacked(path: Path) -> IO[bytes]:
    """A file to be read as what it holds, whatever its name says of its packing."""
    with open_regular(path) as file:
        head = file.read(6)
    opener = next((o for magic, o in _OPENERS.items() if head.startswith(magic)), open)
    opened: IO[bytes] = opener(path, "rb")
    return opened


def is_clutter(name: str) -> bool:
    """Whether a name is one of those that macOS leaves in archives and folders."""
    parts = Path(name).parts
    return "__MACOSX" in parts or any(part.startswith("._") for part in parts)


def _from_zip(path: Path, most: int) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist()[:MOST_MEMBERS]:
            # the size is what the archive says; reading stops there
            fits = member.file_size <= most + 1024 and not member.is_dir()
            if not fits or is_clutter(member.filename):
                continue
            content = read_entry(archive, member)
            if member.filename.endswith(".npy"):
                content = _to_idx(content)
            if len(content) <= most:
                yield member.filename, content


class _Capped:
    """A file of which no more is read at once: long names lie in headers, too."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file, self._most = file, most
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self._most:
            raise ValueError(f"a header of {size} bytes")
        return self._file.read(size)


def _begins_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _from_tar(file: IO[bytes], most: int) -> Iterator[tuple[str, bytes]]:
    capped: Any = _Capped(file, most + tarfile.RECORDSIZE)
    with tarfile.open(fileobj=capped, mode="r:") as archive:
        for count, member in enumerate(archive):
            if count == MOST_MEMBERS:
                raise ValueError(f"more than {MOST_MEMBERS:,} members")
            if not member.isfile() or member.size > most or is_clutter(member.name):
                continue
            if opened := archive.extractfile(member):
                yield member.name, opened.read()


def _to_idx(npy: bytes) -> bytes:
    """An array of uint8 with the header of the IDX format; nothing for any other."""
    array = parse_npy(npy)
    if array.dtype.kind not in "ui" or not 1 <= array.ndim <= 3 or array.size == 0:
        return b""
    if array.min() < 0 or array.max() > 255:
        return b""
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + np.ascontiguousarray(array, np.uint8).tobytes()
