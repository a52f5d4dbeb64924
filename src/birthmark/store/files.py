"""Files that are there whole or not at all, and errors of theirs in one line."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from birthmark.errors import SpecError, StoreError
from birthmark.store.checksums import BLANK, ChecksumError, checksum, seal, sealed
from birthmark.store.layout import STORE_FILE, RunPaths, is_run_key, list_files
from birthmark.whole_files import check_target as check_output
from birthmark.whole_files import replace_content as replace_whole
from birthmark.whole_files import replacing as replacing_file
from birthmark.whole_files import say_reason, sync_folder, temporary_beside


class DamageError(StoreError):
    """A file is not as it was written."""


class MissingFileError(DamageError):
    """A file is not there, or no longer: a writer may just have replaced it."""


@contextlib.contextmanager
def replacing(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    """As `whole_files.replacing`, which says what is promised.

    Raises:
        StoreError: The file cannot be written; what stood there before still stands.
    """
    with _in_one_line(path), replacing_file(path, lasting=lasting) as temporary:
        yield temporary


def replace_content(path: Path, content: bytes) -> None:
    """Replace a file by what lies in memory; its name lasts from the next `sync`.

    Raises:
        StoreError: The file cannot be written; what stood there before still stands.
    """
    with _in_one_line(path):
        replace_whole(path, content, lasting=False)


def sync(folder: Path) -> None:
    """Have on the disk which files a folder has: what comes later comes after that.

    Raises:
        StoreError: The system cannot.
    """
    with _in_one_line(folder):
        sync_folder(folder)


@contextlib.contextmanager
def _in_one_line(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write {path}: {say_reason(error)}") from error


def check_target(path: str | Path) -> Path:
    """The path of a file of a user's that can be written, before any work.

    Raises:
        StoreError: As `whole_files.check_target`, or it is a file of a store itself.
    """
    target = check_output(path)
    refuse_place_of_run(target)
    if target.name == STORE_FILE:
        raise StoreError(f"cannot write {target}: {_OF_STORE}")
    return target


def make_output_folder(path: str | Path) -> None:
    """Make a folder that a user names, in which files can be written, before any work.

    Raises:
        StoreError: It cannot be made or written to, or is that of a run.
    """
    target = Path(path)
    refuse_place_of_run(target / "any")
    make_folder(target)
    check_target(target / "any")


def refuse_place_of_run(path: Path) -> None:
    """Refuse to put anything into the folder of a run.

    Raises:
        StoreError: It lies in one.
    """
    folder = Path(os.path.realpath(path)).parent
    if is_run_key(folder.name) and is_there(folder.parent / STORE_FILE):
        raise StoreError(f"cannot write {path}: {_OF_STORE}")


@contextlib.contextmanager
def replacing_folder(path: Path, is_ours: Callable[[Path], bool]) -> Iterator[Path]:
    """As `replacing`, for a folder; killed at the end, it leaves the old one beside.

    Args:
        path: Where to.
        is_ours: Whether the folder that is there may be deleted; no other ever is.

    Raises:
        StoreError: It cannot be written; what stood there before still stands.
    """
    temporary, old = temporary_beside(path), temporary_beside(path)
    if os.path.lexists(path) and not (
        path.is_dir() and not path.is_symlink() and is_ours(path)
    ):
        raise StoreError(
            f"cannot write {path}: what is there was not written by an export: move "
            "it, or name another folder"
        )
    try:
        yield temporary
        if path.exists():
            path.rename(old)
        temporary.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {say_reason(error)}") from error
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        for folder in (temporary, old):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def sealing(path: Path) -> Iterator[Path]:
    """For a file that holds `BLANK`: it gets its checksum, and lasts from `sync`."""
    with replacing(path, lasting=False) as temporary:
        yield temporary
        seal(temporary)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever is wrong with a file into an error of one line.

    Raises:
        MissingFileError: There is no such file.
        DamageError: Its content is not what it was, or a folder or a pipe is there.
        StoreError: It cannot be read at present: no permission, no memory.
    """
    try:
        if _has_no_end(path):
            raise ChecksumError("it is no file")
        yield
    except FileNotFoundError as error:
        raise MissingFileError(f"{path} is missing: {advise(path)}") from error
    except (OSError, MemoryError) as error:
        reason = say_reason(error)
        if isinstance(error, MemoryError):
            reason = "not enough memory"
        elif error.errno in (errno.EISDIR, errno.ELOOP):  # and will be so tomorrow
            raise DamageError(
                f"{path} is damaged ({reason}): {advise(path)}"
            ) from error
        raise StoreError(f"cannot read {path}: {reason}") from error
    except _kinds_of_damage() as error:
        raise DamageError(
            f"{path} is damaged ({say_reason(error)}): {advise(path)}"
        ) from error


def _has_no_end(path: Path) -> bool:
    """Whether a pipe or a device is there, which may be read for ever."""
    try:
        mode = path.stat().st_mode
    except OSError:  # to open it says why
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


_OF_STORE = "that is a place of the store itself, name another"
_OWNER = "birthmark-run"  # key under which a file says of which run it is
_PLAIN = (ValueError, TypeError, KeyError, AttributeError, OverflowError)


def advise(path: Path) -> str:
    """What to do about a file that is damaged or missing."""
    if path.name == STORE_FILE:  # of no run, and known by what lies beside it
        return "restore it, or delete it and let `birthmark repair` write it again"
    if RunPaths(path.parent).description.exists():  # only who trained it knows how
        return f"restore it, or delete {path.parent} and train it again"
    return "restore it, or let `birthmark repair` carry out its run again"


def _kinds_of_damage() -> tuple[type[Exception], ...]:
    """What reading raises; of Parquet and safetensors, where those are loaded."""
    named = (("pyarrow", "ArrowException"), ("safetensors", "SafetensorError"))
    loaded = [getattr(sys.modules[m], name) for m, name in named if m in sys.modules]
    own = (ChecksumError, SpecError)
    return (*own, *_PLAIN, *loaded)


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        StoreError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"cannot make the folder {path}: {say_reason(error)}; name another folder"
        ) from error


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        StoreError: It cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot remove {path}: {say_reason(error)}") from error


def remove_temporary(folder: Path, name: str = "") -> None:
    """Remove what writers that were killed have left half written, of one file or all.

    A living writer then fails. So of all files only for who has the folder to himself,
    and of one where that harms nobody, since it is there.

    Raises:
        StoreError: It cannot be removed.
    """
    for one in list_files(folder):
        if one.startswith(f".{name}") and one.endswith(".tmp"):
            remove(folder / one)


def remove_leftovers(path: Path) -> None:
    """As `remove_temporary`, beside a file that is there; nobody has to be able to."""
    with contextlib.suppress(StoreError):
        remove_temporary(path.parent, f"{path.name}.")


def is_there(path: Path) -> bool:
    """Whether a file is there.

    Raises:
        StoreError: The system cannot say: the name is too long, a folder is closed.
    """
    try:
        return path.exists()
    except OSError as error:
        raise StoreError(f"cannot look for {path}: {say_reason(error)}") from error


def check_exists(path: Path) -> None:
    """Make sure that a file is there.

    Raises:
        MissingFileError: It is not.
    """
    if not is_there(path):
        raise MissingFileError(f"{path} is missing: {advise(path)}")


def read_bytes(path: Path) -> bytes:
    """The content of a file, whose checksum has been checked."""
    return read_sealed(path)[0]


def read_sealed(path: Path) -> tuple[bytes, str]:
    """The same, and the checksum; empty where files had none."""
    with reading(path):
        content = path.read_bytes()
        found = checksum(path, content)
        if not found and not predates_checksums(path):
            raise ChecksumError("it has no checksum")
        return content, found


def predates_checksums(path: Path) -> bool:
    """Whether the store of a file is of the version in which files had none."""
    for folder in path.parents[:2]:
        if (folder / STORE_FILE).exists():
            description = json.loads((folder / STORE_FILE).read_text(encoding="utf-8"))
            return bool(description["format_version"] == 1)
    return False


def write_mark(path: Path) -> None:
    """Make an empty file, whose being there says something."""
    replace_content(path, b"")


def write_toml(path: Path, text: str) -> None:
    """Replace a TOML file."""
    replace_content(path, sealed(f"{text.rstrip()}\n\n# {BLANK}\n".encode()))


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file."""
    content = read_bytes(path)
    with reading(path):
        return tomllib.loads(content.decode())


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a JSON file; NaN and infinities are written as Python writes them."""
    # a line a key: Python indents what is nested ten times as slowly
    lines = [
        f" {json.dumps(key)}: {json.dumps(inner)}"
        for key, inner in {**value, **owner(path), "checksum": BLANK}.items()
    ]
    text = ",\n".join(lines)
    replace_content(path, sealed(f"{{\n{text}\n}}\n".encode()))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    content = read_bytes(path)
    with reading(path):
        value = json.loads(content)
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
        value.pop("checksum", None)
        return check_owner(path, value)


def owner(path: Path) -> dict[str, str]:
    """Of which run a file says that it is, by the folder that it lies in."""
    is_of_run = is_run_key(path.parent.name) and path.name != STORE_FILE
    return {_OWNER: path.parent.name} if is_of_run else {}


def check_owner(path: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """What a file says besides, if it is of the run in whose folder it lies.

    Raises:
        ValueError: It is of another; files of before say nothing of it.
    """
    found = facts.pop(_OWNER, path.parent.name)
    if found != path.parent.name:
        raise ValueError(f"it is of run {found}")
    return facts
