"""Files that others wrote: read as far as they should reach, and blamed by name.

A device has no end, a small archive may stand for terabytes, and a header may promise
an array that no memory holds. What readers of other projects raise over bytes that
nobody wrote has no list.
"""

from __future__ import annotations

import errno
import math
import stat
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from birthmark.errors import BirthmarkError, DataError
from birthmark.shapes import Array

_MOST_TIMES = 64  # its own size, for which a file may stand
_FEW = 2**28  # bytes for which any file may: constants pack well

Header = tuple[tuple[int, ...], bool, "np.dtype[np.generic]"]


@contextmanager
def damage_named(path: str | Path, kind: type[BirthmarkError]) -> Iterator[None]:
    """Say in one line what is wrong with a file that its reader stumbles over.

    Only what lies in the file is called damage; what this machine refuses is not.

    Raises:
        kind: Instead of anything that is no error of ours.
    """
    try:
        yield
    except BirthmarkError:
        raise
    except MemoryError as error:
        raise kind(f"{path} says it is larger than the memory that is free") from error
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise kind(f"{path} cannot be read: {error.strerror}") from error
        # not its message: that of torch says how to run what was refused
        raise kind(
            f"{path} is a damaged file, or cut short ({type(error).__name__}): get it "
            "anew"
        ) from error


def open_regular(path: str | Path) -> BufferedReader:
    """Open a file with a beginning and an end, to be read from anywhere in it.

    Raises:
        OSError: As of `open`, or it is a device or a pipe.
    """
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return Path(path).open("rb")


def read_at_most(path: str | Path, most: int) -> bytes:
    """All bytes of a file or a pipe.

    Raises:
        OSError: As of `open`, or there are more.
    """
    with Path(path).open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"more than {most:,} bytes", str(path))
    return content


def refuse_bomb(
    path: str | Path, size: int, num_bytes: int, kind: type[BirthmarkError]
) -> None:
    """Refuse a file that stands for far more numbers than lie in it.

    What is packed, repeated in a view or nothing but a fill value takes no room in a
    file, and memory and time where it is read.

    Args:
        path: To be blamed.
        size: Bytes of the file.
        num_bytes: For which it stands.
        kind: Of the error.

    Raises:
        kind: It does.
    """
    if num_bytes > max(_FEW, _MOST_TIMES * size):
        raise kind(
            f"{path} has {size:,} bytes and stands for {num_bytes:,}: save its tensors "
            "unpacked, and none of them expanded"
        )


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The content of an entry, unpacked no further than to the size that it states.

    `ZipFile.read` unpacks up to 2 GB before it looks at the size.

    Raises:
        Exception: It is damaged, or of another size.
    """
    with archive.open(entry) as file:
        content = file.read(entry.file_size)
    if len(content) != entry.file_size:
        raise EOFError(f"{entry.filename} has {len(content)} bytes")
    return content


def read_npz(path: Path, names: Iterable[str], most: int) -> dict[str, Array]:
    """Some arrays of a npz file.

    Args:
        path: Where it lies.
        names: Of the arrays that are wanted.
        most: Bytes that one of them has at most.

    Raises:
        DataError: One of them is missing, or larger.
        Exception: It is damaged, or an array holds Python objects.
    """
    found = {}
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        for name in names:
            entry = entries.get(f"{name}.npy")
            if entry is None or entry.file_size > most:
                what = f"no {name}" if entry is None else f"a {name} of another size"
                raise DataError(f"{path}: {what} in it: get the file anew")
            found[name] = parse_npy(read_entry(archive, entry))
    return found


def parse_npy(content: bytes) -> Array:
    """The array that a npy file holds, over its own bytes.

    Raises:
        Exception: It is no array, holds Python objects, or has another size than its
            header says: none is made of what is not there.
    """
    stream = BytesIO(content)
    shape, fortran, dtype = read_npy_header(stream)
    start = stream.tell()
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - start:
        raise ValueError(f"{len(content) - start} bytes for {shape} of {dtype}")
    flat = np.frombuffer(content, dtype, offset=start)
    return flat.reshape(shape, order="F" if fortran else "C")


def read_npy_header(opened: IO[bytes]) -> Header:
    """Shape, whether in Fortran's order, and dtype, of an array that begins here.

    Raises:
        Exception: It is no header of an array.
    """
    version = npy.read_magic(opened)
    if version == (1, 0):
        return npy.read_array_header_1_0(opened)
    return npy.read_array_header_2_0(opened)
