"""Files that are there whole or not at all, and errors of theirs in one line."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from birthmark.errors import SpecError, StoreError
from birthmark.shapes import Array


class MissingFileError(StoreError):
    """A file is not there, or no longer: a writer may just have replaced it."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on leaving, the file gets its name at once.

    Raises:
        StoreError: The file cannot be written; what stood there before still stands.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"cannot write {path}: {_reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever is wrong with a file into an error of one line.

    Raises:
        MissingFileError: There is no such file.
        StoreError: It cannot be read, or is damaged.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise MissingFileError(f"{path} is missing: {_ADVICE}") from error
    except (
        *(OSError, SafetensorError, pa.ArrowException, SpecError),
        *(ValueError, TypeError, KeyError, AttributeError),
    ) as error:
        message = f"{path} cannot be read ({_reason(error)}): {_ADVICE}"
        raise StoreError(message) from error


_ADVICE = "restore it, or delete the folder of its run and start that run again"


def _reason(error: Exception) -> str:
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
    """Remove what writers that were killed have left half written."""
    for path in folder.glob(".*.tmp"):
        remove(path)


def write_text(path: Path, text: str) -> None:
    """Replace a text file."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file; NaN and infinities are written as Python writes them."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    with reading(path):
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
        return value


def write_arrays(
    path: Path, arrays: Mapping[str, Array], facts: Mapping[str, Any]
) -> None:
    """Replace a safetensors file; the facts go into its header, each as JSON."""
    # save_file takes the memory as it lies: a strided view would be scrambled
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    header = {name: json.dumps(value) for name, value in facts.items()}
    with replacing(path) as temporary:
        save_file(whole, temporary, metadata=header)


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The NumPy arrays and the facts of a safetensors file."""
    with reading(path), safe_open(path, framework="numpy") as file:
        header = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return arrays, {name: json.loads(text) for name, text in header.items()}
