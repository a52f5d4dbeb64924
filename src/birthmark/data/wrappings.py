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
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from birthmark.errors import DataError

# what the readers raise for bytes that are not what they should be
DAMAGES = (
    EOFError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,  # a zip file with a method that Python lacks
    RuntimeError,  # a zip file with a password
)
MOST_MEMBERS = 1_000_000  # of an archive
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
    try:
        if zipfile.is_zipfile(path):
            yield from _from_zip(path, most)
        elif tarfile.is_tarfile(path):
            yield from _from_tar(path, most)
        else:
            with open_unpacked(path) as file:
                content = file.read(most + 1)
            if len(content) <= most:
                yield path.name, content
    except OSError as error:
        if not error.strerror:  # so does bz2 call damage
            raise _damaged(path, error) from error
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except DAMAGES as error:
        raise _damaged(path, error) from error


def open_unpacked(path: Path) -> IO[bytes]:
    """A file to be read as what it holds, whatever its name says of its packing."""
    with path.open("rb") as file:
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
            content = archive.read(member)
            if member.filename.endswith(".npy"):
                content = _to_idx(content)
            if len(content) <= most:
                yield member.filename, content


def _from_tar(path: Path, most: int) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r|*") as archive:
        for count, member in enumerate(archive):
            if count == MOST_MEMBERS:
                raise ValueError(f"more than {MOST_MEMBERS:,} members")
            if not member.isfile() or member.size > most or is_clutter(member.name):
                continue
            if file := archive.extractfile(member):
                yield member.name, file.read()


def _to_idx(npy: bytes) -> bytes:
    """An array of uint8 with the header of the IDX format; nothing for any other."""
    from io import BytesIO

    array = np.lib.format.read_array(BytesIO(npy), allow_pickle=False)
    if array.dtype.kind not in "ui" or not 1 <= array.ndim <= 3 or array.size == 0:
        return b""
    if array.min() < 0 or array.max() > 255:
        return b""
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + np.ascontiguousarray(array, np.uint8).tobytes()


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: damaged file ({error}): delete it and get it anew")
