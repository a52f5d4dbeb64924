"""A checksum inside each file of a store, over all its other bytes.

Whatever the kind of file, it holds the text `birthmark-sha256:` and 64 digits once: in
the metadata of Parquet and safetensors, as the last key of JSON, as the last line of
TOML. The digits are the SHA-256 of the whole file with zeros in their place. So a file
is checked by itself, also when it was copied elsewhere, and other programs read it as
they read any file of its kind.
"""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path

_NAME = b"birthmark-sha256:"
_DIGITS = 64
BLANK = (_NAME + b"0" * _DIGITS).decode()  # to be written where the checksum belongs


class ChecksumError(ValueError):
    """The bytes of a file are not those that were written."""


def sealed(content: bytes) -> bytes:
    """The same with its checksum in the place of the last `BLANK`."""
    at = content.rindex(BLANK.encode()) + len(_NAME)
    return b"".join((content[:at], _digest(content, at), content[at + _DIGITS :]))


def seal(path: Path) -> None:
    """As `sealed`, for a file, which may be large.

    Raises:
        ValueError: The file has no place for it.
    """
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        at = _find(path, content)
        if at is None:
            raise ValueError(f"{path} has no place for a checksum")
        content[at : at + _DIGITS] = _digest(content, at)


def checksum(path: Path, content: bytes) -> str:
    """The checksum of a content, which the file itself says; empty if it says none.

    Raises:
        ChecksumError: It says another one.
    """
    at = _find(path, content)
    if at is None:
        return ""
    found = _digest(content, at)
    if content[at : at + _DIGITS] != found:
        raise ChecksumError("its bytes do not match its checksum")
    return found.decode()


def _find(path: Path, content: bytes | mmap.mmap) -> int | None:
    # what a user has named stands behind it in one kind of file, before it in others
    find = content.find if path.suffix == ".safetensors" else content.rfind
    at = find(_NAME)
    end = at + len(_NAME)
    return None if at < 0 or end + _DIGITS > len(content) else end


def _digest(content: bytes | mmap.mmap, at: int) -> bytes:
    digest = hashlib.sha256()
    with memoryview(content) as view:
        digest.update(view[:at])
        digest.update(b"0" * _DIGITS)
        digest.update(view[at + _DIGITS :])
    return digest.hexdigest().encode()
