"""Files that are there whole or not at all, and errors of theirs in one line."""

from __future__ import annotations

import contextlib
import json
import os
import tomllib
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError
from safetensors.numpy import load

from birthmark.errors import SpecError, StoreError
from birthmark.shapes import Array
from birthmark.store.checksums import BLANK, ChecksumError, checksum, seal
from birthmark.store.layout import STORE_FILE


class DamageError(StoreError):
    """A file is not as it was written."""


class MissingFileError(DamageError):
    """A file is not there, or no longer: a writer may just have replaced it."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on leaving, the file gets its name at once.

    Any number of threads, processes and machines may replace one file: the last wins.

    Raises:
        StoreError: The file cannot be written; what stood there before still stands.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {_reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def sealing(path: Path) -> Iterator[Path]:
    """As `replacing`, for a file that holds `BLANK`: it gets its checksum."""
    with replacing(path) as temporary:
        yield temporary
        seal(temporary)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever is wrong with a file into an error of one line.

    Raises:
        MissingFileError: There is no such file.
        DamageError: Its content is not what it was.
        StoreError: It cannot be read at present: no permission, no memory.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise MissingFileError(f"{path} is missing: {_ADVICE}") from error
    except (OSError, MemoryError) as error:
        reason = _reason(error)
        if isinstance(error, MemoryError):
            reason = "not enough memory"
        raise StoreError(f"cannot read {path}: {reason}") from error
    except (
        *(ChecksumError, SafetensorError, pa.ArrowException, SpecError),
        *(ValueError, TypeError, KeyError, AttributeError, OverflowError),
    ) as error:
        raise DamageError(f"{path} is damaged ({_reason(error)}): {_ADVICE}") from error


_ADVICE = "restore it, or let `birthmark repair` carry out its run again"


def _reason(error: BaseException) -> str:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(reason).strip().splitlines()[0]


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        StoreError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {path}: {_reason(error)}") from error


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        StoreError: It cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot remove {path}: {_reason(error)}") from error


def remove_temporary(folder: Path) -> None:
    """Remove what writers that were killed have left half written.

    Only for who has the folder to himself.
    """
    for path in folder.glob(".*.tmp"):
        remove(path)


def check_exists(path: Path) -> None:
    """Make sure that a file is there.

    Raises:
        MissingFileError: It is not.
    """
    if not path.exists():
        raise MissingFileError(f"{path} is missing: {_ADVICE}")


def read_bytes(path: Path) -> bytes:
    """The content of a file, whose checksum has been checked."""
    with reading(path):
        content = path.read_bytes()
        if not checksum(path, content) and not predates_checksums(path):
            raise ChecksumError("it has no checksum")
        return content


def predates_checksums(path: Path) -> bool:
    """Whether the store of a file is of the version in which files had none."""
    for folder in path.parents[:2]:
        if (folder / STORE_FILE).exists():
            description = json.loads((folder / STORE_FILE).read_text(encoding="utf-8"))
            return bool(description["format_version"] == 1)
    return False


def write_mark(path: Path) -> None:
    """Make an empty file, whose being there says something."""
    with replacing(path) as temporary:
        temporary.touch()


def write_toml(path: Path, text: str) -> None:
    """Replace a TOML file."""
    with sealing(path) as temporary:
        temporary.write_text(f"{text.rstrip()}\n\n# {BLANK}\n", encoding="utf-8")


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
        for key, inner in {**value, "checksum": BLANK}.items()
    ]
    text = ",\n".join(lines)
    with sealing(path) as temporary:
        temporary.write_text(f"{{\n{text}\n}}\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    content = read_bytes(path)
    with reading(path):
        value = json.loads(content)
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
        value.pop("checksum", None)
        return value


def write_arrays(
    path: Path, arrays: Mapping[str, Array], facts: Mapping[str, Any]
) -> None:
    """Replace a safetensors file; equal arrays and facts make equal bytes.

    The facts go into its header, as JSON.
    """
    with sealing(path) as temporary, temporary.open("wb") as file:
        _write_safetensors(file, arrays, json.dumps({"": BLANK, **facts}))


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The NumPy arrays and the facts of a safetensors file."""
    content = read_bytes(path)
    with reading(path):
        arrays = load(content)
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size]).get("__metadata__", {})
        if "birthmark" not in header:  # before there were checksums: one by one
            return arrays, {name: json.loads(text) for name, text in header.items()}
        facts = json.loads(header["birthmark"])
        del facts[""]
        return arrays, facts


def map_arrays(path: Path) -> dict[str, Array]:
    """The arrays of a safetensors file, read from the disk where they are used.

    What is written into them stays in memory. No checksum is compared: that would read
    the whole file.
    """
    kinds = {name: kind for kind, name in _DTYPES.items()}
    with reading(path), path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header.pop("__metadata__", None)
        whole = np.memmap(path, np.uint8, "c", offset=8 + size)
        arrays = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            flat = whole[begin:end].view(kinds[entry["dtype"]])
            arrays[name] = flat.reshape(entry["shape"])
        return arrays


# as safetensors names them
_DTYPES = {
    **{np.dtype(f"float{bits}"): f"F{bits}" for bits in (16, 32, 64)},
    **{np.dtype(f"int{bits}"): f"I{bits}" for bits in (8, 16, 32, 64)},
    **{np.dtype(f"uint{bits}"): f"U{bits}" for bits in (8, 16, 32, 64)},
    np.dtype(bool): "BOOL",
}


def _write_safetensors(
    file: BinaryIO, arrays: Mapping[str, Array], metadata: str
) -> None:
    """Array after array, so that no second copy of all is made in memory.

    The library's own writer orders metadata by chance and makes files of mode 0600.
    """
    # the widest numbers first, so that each array is aligned
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": {"birthmark": metadata}}
    end = 0
    for name in names:
        array = arrays[name]
        start, end = end, end + array.nbytes
        header[name] = {
            "dtype": _DTYPES[array.dtype],
            "shape": array.shape,
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        # as it lies in memory, a strided view would be scrambled
        file.write(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)
