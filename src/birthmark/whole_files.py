"""Files that are there whole or not at all, and never in the place of what is no file.

All that is written goes through here: what a store keeps, what a user asks for, what a
cache holds. Devices, pipes and folders stay what they are.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

from birthmark.errors import StoreError

_LONGEST = 255  # bytes of a name
_NO_FILE = "what is there is no file, name another"


@contextlib.contextmanager
def replacing(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    """Give a temporary path to write to; on leaving, the file gets its name at once.

    Any number of threads, processes and machines may replace one file: the last wins.

    Args:
        path: Of the file.
        lasting: Whether its name is on the disk on leaving; else a loss of power may
            take it back, until `sync_folder`.

    Raises:
        OSError: It cannot be written; what stood there before still stands.
    """
    with _renaming(path, lasting) as temporary:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())


def replace_content(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """As `replacing`, of what lies in memory: the file is opened once.

    Raises:
        OSError: It cannot be written; what stood there before still stands.
    """
    with _renaming(path, lasting) as temporary, temporary.open("xb") as file:
        if content:  # of an empty one there is the name alone
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def _renaming(path: Path, lasting: bool) -> Iterator[Path]:
    """Give a temporary path; what was written and flushed there gets its name."""
    temporary = temporary_beside(path)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError(errno.EINVAL, _NO_FILE, str(path))
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if lasting:
        sync_folder(path.parent)


def temporary_beside(path: Path) -> Path:
    """A name that nobody else takes, with that of the file if both fit into one."""
    end = f".{uuid.uuid4().hex}.tmp"
    fits = len(os.fsencode(path.name)) + len(end) < _LONGEST
    return path.with_name(f".{path.name}{end}" if fits else end)


def write_output(path: str | Path, content: str | bytes) -> Path:
    """Write a file that a user asks for, in UTF-8; a link is followed.

    Returns:
        The path as it was given.

    Raises:
        StoreError: It cannot be written; what stood there before still stands.
    """
    target = check_target(path)
    real = _follow(target)
    data = content if isinstance(content, bytes) else content.encode()
    try:
        replace_content(real, data)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {say_reason(error)}") from error
    return target


def check_target(path: str | Path) -> Path:
    """The path of a file that can be written, before any work.

    Raises:
        StoreError: It is a folder, a device, a pipe or our own output, or lies in no
            folder or in one that is closed.
    """
    target = Path(path)
    try:
        real = _follow(target)
        if target.is_dir() or not real.parent.is_dir():
            raise StoreError(
                f"cannot write {target}: name a file in a folder that exists"
            )
        if not os.access(real.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "its folder may not be written to")
        # behind /dev/stdout lies a device, a file without a name, or our own output
        if target.exists() and (not real.is_file() or _is_our_output(real)):
            raise OSError(errno.EINVAL, _NO_FILE)
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot write {target}: {say_reason(error)}") from error
    return target


def say_reason(error: BaseException) -> str:
    """What an error says, in one line."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(reason).strip().splitlines()[0]


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _follow(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _is_our_output(path: Path) -> bool:
    """Whether standard output or error goes there, as behind /dev/stdout."""
    found = path.stat()
    for handle in (1, 2):
        with contextlib.suppress(OSError):  # it may be closed
            if os.path.samestat(found, os.fstat(handle)):
                return True
    return False
