"""Versions of the format of a store, and the way from each to the next.

Version 2 gave each file a checksum, and each run that is done a list of its files.
Version 3 keeps arrays in the tables as bytes; what was written before is read as it is.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from birthmark.errors import StoreError
from birthmark.store import files
from birthmark.store.claims import Claim
from birthmark.store.contents import write_contents
from birthmark.store.layout import STORE_FILE, RunPaths, run_keys

FORMAT_VERSION = 3


def describe_store(folder: Path) -> None:
    """Write down of which version a store is: the present one, if it is empty."""
    runs = [RunPaths(folder / key) for key in run_keys(folder)]
    is_old = any(run.done.exists() and not run.contents.exists() for run in runs)
    version = 1 if is_old else FORMAT_VERSION
    _write_version(folder, version)


def read_version(folder: Path) -> int:
    """The version of the format of the store in a folder.

    Raises:
        StoreError: There is no store, or it is of a newer version.
    """
    description = folder / STORE_FILE
    if not files.is_there(description):
        if folder.is_dir() and run_keys(folder):
            raise files.MissingFileError(
                f"{description} is missing beside runs: restore it, or let "
                "`birthmark repair` write it again"
            )
        what = "is no birthmark store" if folder.exists() else "does not exist"
        raise StoreError(f"{folder} {what}: name the folder given to --store of a run")
    version = files.read_json(description).get("format_version")
    if not isinstance(version, int) or version < 1:
        raise StoreError(f"{description} names no format version: restore the file")
    if version > FORMAT_VERSION:
        raise StoreError(
            f"{folder} has format version {version}, and this birthmark reads up to "
            f"{FORMAT_VERSION}: update birthmark"
        )
    return version


def migrate(folder: Path) -> None:
    """Bring a store of an older version to the present one; no number changes.

    Of version 1 each file is replaced by itself with a checksum; a kill leaves a store
    of version 1, which can be migrated again. What is damaged stays, and is called so
    from then on.

    Raises:
        StoreError: It cannot be written, or a writer is at work in it.
    """
    if read_version(folder) == 1:
        _seal_runs(folder)
    _write_version(folder, FORMAT_VERSION)


def _write_version(folder: Path, version: int) -> None:
    files.write_json(folder / STORE_FILE, {"format_version": version})
    files.sync(folder)


def _seal_runs(folder: Path) -> None:
    for key in run_keys(folder):
        paths = RunPaths(folder / key)
        claim = Claim.take(paths.claim)
        try:
            with contextlib.suppress(files.DamageError):
                for path in sorted(paths.folder.iterdir()):
                    _seal(path)
                if paths.done.exists():
                    write_contents(paths)
            files.sync(paths.folder)
        finally:
            claim.release()


def _seal(path: Path) -> None:
    from birthmark.store.arrays import read_arrays, write_arrays
    from birthmark.store.segments import reseal

    if path.suffix == ".json":
        files.write_json(path, files.read_json(path))
    elif path.suffix == ".toml":
        files.write_toml(path, files.read_bytes(path).decode())
    elif path.suffix == ".safetensors":
        write_arrays(path, *read_arrays(path))
    elif path.suffix == ".parquet":
        reseal(path)
