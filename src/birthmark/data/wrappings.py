"""What lies in a file, however it was packed: gz, bz2, xz, zip, tar, npy, npz, or none.

Distributors pack the same bytes anew, and people unpack them. So contents are handed
out one by one, unpacked, and whoever knows the checksum of one takes it. Nothing is
unpacked beyond the size that is known: a small file may stand for terabytes. What
macOS leaves beside each file (`._name`) is a content like others, that nobody takes.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import struct
import tarfile
import zipfile
from collections.abc import Collection, Iterator
from io import BufferedReader, BytesIO
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

MOST_FILES = 1000  # of a folder that are looked into
MOST_MEMBERS = 1_000_000  # of an archive
MOST_LAYERS = 3  # of packing, one in another
MOST_TIMES = 64  # the largest content that is wanted, in all contents together
_OPENERS: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x5d\0\0": lzma.open,  # of before there was xz
}
_ARRAY = b"\x93NUMPY"


def unwrap(path: Path, most: int) -> Iterator[tuple[str, bytes]]:
    """Each content of a file, unpacked, with its name.

    What was packed again (gz in zip, as sites of data sets do) is unpacked again. An
    array of uint8 in NumPy's format comes as the IDX file that it would be.

    Args:
        path: Any file.
        most: Bytes of the largest content that is wanted; larger ones are left out.

    Raises:
        DataError: The file cannot be read, or is damaged.
    """
    with damage_named(path, DataError), open_regular(path) as file:
        total = 0
        for name, content in _contents(file, path.name, most, MOST_LAYERS):
            total += len(content)
            if total > MOST_TIMES * most:
                raise DataError(f"{path} unpacks to more than {MOST_TIMES * most:,}")
            yield name, content


def find_contents(
    path: Path, most: int, names: Collection[str]
) -> Iterator[tuple[str, bytes]]:
    """As `unwrap`, of a file or of those in a folder, first where names begin so.

    Raises:
        DataError: As `unwrap`; in a folder at the end, and only of what is named so.
    """
    if not path.is_dir():
        yield from unwrap(path, most)
        return
    alike = tuple(names)
    files = sorted(path.rglob("*"), key=lambda f: (not f.name.startswith(alike), f))
    damaged: DataError | None = None
    for file in [f for f in files if f.is_file()][:MOST_FILES]:
        try:
            yield from unwrap(file, most)
        except DataError as error:
            if file.name.startswith(alike):
                damaged = damaged or error
    if damaged is not None:
        raise damaged


def _contents(
    file: IO[bytes], name: str, most: int, layers: int
) -> Iterator[tuple[str, bytes]]:
    """What lies in a file, through at most so many layers of packing."""
    head = file.read(tarfile.BLOCKSIZE)
    file.seek(0)
    opener = next((o for magic, o in _OPENERS.items() if head.startswith(magic)), None)
    if layers and opener is not None:
        with opener(file, "rb") as unpacked:
            yield from _contents(unpacked, name, most, layers - 1)
    elif layers and (inside := _members(file, head, most)) is not None:
        for member, content in inside:
            yield from _contents(BytesIO(content), member, most, layers - 1)
    else:
        named = name.endswith(".npy") and not Path(name).name.startswith("._")
        is_array = head.startswith(_ARRAY) or named
        content = file.read((_most_of_array(most) if is_array else most) + 1)
        content = _to_idx(content) if is_array else content
        if len(content) <= most:
            yield name, content


def _members(
    file: IO[bytes], head: bytes, most: int
) -> Iterator[tuple[str, bytes]] | None:
    """What an archive holds; None if it is none."""
    is_member = isinstance(file, BytesIO)  # of another: there may be 100,000 of them
    if head.startswith(b"PK") if is_member else _is_zip(file):
        return _from_zip(file, most)
    if head[257:262] == b"ustar" if is_member else _begins_tar(head):
        return _from_tar(file, most)
    return None


def _is_zip(file: IO[bytes]) -> bool:
    """Whether it ends as a zip does; what was packed as a whole is not looked at."""
    if not isinstance(file, BufferedReader):
        return False
    found = zipfile.is_zipfile(file)
    file.seek(0)
    return found


def _from_zip(file: IO[bytes], most: int) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist()[:MOST_MEMBERS]:
            # the size is what the archive says; reading stops there
            is_array = member.filename.endswith(".npy")
            cap = _most_of_array(most) if is_array else _most_of_member(most)
            if member.file_size <= cap and not member.is_dir():
                # with backslashes, as some programs on Windows write it
                yield member.filename.replace("\\", "/"), read_entry(archive, member)


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
    capped: Any = _Capped(file, _most_of_member(most) + tarfile.RECORDSIZE)
    with tarfile.open(fileobj=capped, mode="r:") as archive:
        for count, member in enumerate(archive):
            if count == MOST_MEMBERS:
                raise ValueError(f"more than {MOST_MEMBERS:,} members")
            fits = member.isfile() and member.size <= _most_of_member(most)
            if fits and (opened := archive.extractfile(member)):
                yield member.name, opened.read()


def _most_of_member(most: int) -> int:
    """Bytes of what may be packed itself, at worst into a little more than it was."""
    return most + most // 1000 + 1024


def _most_of_array(most: int) -> int:
    """Bytes of an array in NumPy's format, with a header: up to 8 a number."""
    return 8 * most + 1024


def _to_idx(npy: bytes) -> bytes:
    """An array of bytes, whatever its dtype, as an IDX file; any other as it is.

    Axes of one (channels, columns) are dropped, rows of pixels become squares.
    """
    array = parse_npy(npy)
    if array.dtype.kind not in "uif" or array.ndim < 1 or array.size == 0:
        return npy
    pixels = array.astype(np.uint8) if array.min() >= 0 and array.max() <= 255 else None
    if pixels is None or (pixels != array).any():
        return npy
    count, *axes = pixels.shape
    axes = [size for size in axes if size > 1]
    if len(axes) == 1 and (side := math.isqrt(axes[0])) ** 2 == axes[0]:
        axes = [side, side]
    shape = (count, *axes)
    header = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
    return header + np.ascontiguousarray(pixels).tobytes()
