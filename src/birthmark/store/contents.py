"""What a run that is done consists of: the names and checksums of its files."""

from __future__ import annotations

from birthmark.store.checksums import ChecksumError, checksum
from birthmark.store.files import (
    check_exists,
    predates_checksums,
    read_bytes,
    read_json,
    reading,
    write_json,
)
from birthmark.store.layout import RunPaths

_SUFFIXES = (".toml", ".json", ".parquet", ".safetensors")


def write_contents(paths: RunPaths) -> None:
    """Write down all files that stay; each is read and checked once more."""
    found = {}
    for path in sorted(paths.folder.iterdir()):
        if path.suffix in _SUFFIXES and path not in (paths.checkpoint, paths.contents):
            found[path.name] = checksum(path, read_bytes(path))
    write_json(paths.contents, {"files": found})


def check_names(paths: RunPaths) -> None:
    """Make sure that all files of a run that is done are there.

    Raises:
        StoreError: One is missing.
    """
    for name in _names(paths):
        check_exists(paths.folder / name)


def check_done(paths: RunPaths) -> None:
    """As `check_names`, of a run that may still be written.

    Raises:
        StoreError: It is done, and a file is missing.
    """
    if paths.done.exists():
        check_names(paths)


def check_contents(paths: RunPaths) -> None:
    """Read all files of a run that is done.

    Raises:
        StoreError: One is missing, or is not what was written.
    """
    for name, expected in _names(paths).items():
        path = paths.folder / name
        content = read_bytes(path)
        with reading(path):
            if checksum(path, content) != expected:
                raise ChecksumError("it is whole, but not the file of this run")


def _names(paths: RunPaths) -> dict[str, str]:
    if not paths.contents.exists() and predates_checksums(paths.contents):
        return {}
    content = read_json(paths.contents)
    with reading(paths.contents):
        return dict(content["files"])
