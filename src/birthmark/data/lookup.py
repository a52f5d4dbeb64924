"""The files of a data set: found in a folder, or fetched from a mirror."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from birthmark.data.catalogue import CATALOGUE
from birthmark.data.download import download
from birthmark.data.entries import Entry, Published
from birthmark.data.folders import cache_folder, candidate_folders, named_folders
from birthmark.data.idx import unpack
from birthmark.errors import DataError


def find_files(entry: Entry) -> dict[str, Path]:
    """The kept files that are here, by name: each the first in the order of looking."""
    folders = _folders(entry)
    found = {file.kept: first_file(folders, *file.names) for file in entry.files}
    return {name: path for name, path in found.items() if path is not None}


def obtain(entry: Entry, *, progress: bool = False) -> Mapping[str, Path]:
    """The kept files by name; what is not here is unpacked or downloaded first.

    Raises:
        DataError: A file is missing and no mirror gives it.
    """
    found = find_files(entry)
    missing = [file for file in entry.files if file.kept not in found]
    for file in missing:
        _fetch(entry, file, progress=progress)
    return find_files(entry) if missing else found


def first_file(folders: list[Path], *names: str) -> Path | None:
    """The file with the first of these names in the first folder that has one."""
    paths = (folder / name for folder in folders for name in names)
    return next((path for path in paths if path.is_file()), None)


def where_missing(entry: Entry, file: Published) -> str:
    """Where a file was looked for, as the first half of a message."""
    folders = [str(folder) for folder in named_folders()]
    named = f"BIRTHMARK_DATA ({', '.join(folders)})" if folders else "BIRTHMARK_DATA"
    return (
        f"{entry.name}: {file.name} is neither in a folder of {named} nor in the cache "
        f"{cache_folder(entry)}"
    )


def way_out(entry: Entry, file: Published) -> str:
    """What to do about a file that is not here."""
    return f"get it from {file.urls[0]}, then: birthmark data import {entry.name} PATH"


def _fetch(entry: Entry, file: Published, *, progress: bool) -> None:
    keep, cache = entry.keep, cache_folder(entry)
    assert keep is not None, "an embedded data set has no files"
    if published := first_file(_folders(entry), file.name):
        keep(entry, published, cache)
        return

    def accept(part: Path) -> None:
        if file.kept not in keep(entry, part, cache):
            raise DataError(f"this is another file than {file.name}")

    try:
        cache.mkdir(parents=True, exist_ok=True)
        # one process fetches, those that come meanwhile find the file
        with FileLock(cache.with_name(f".{cache.name}.lock")):
            if not (cache / file.kept).is_file():
                part = cache / f"{file.name}.part"
                download(file.urls, part, accept, progress=progress)
    except DataError as error:
        raise DataError(
            f"{where_missing(entry, file)}, and no mirror gives it ({error}); "
            f"{way_out(entry, file)}"
        ) from error
    except OSError as error:
        raise DataError(
            f"{cache} cannot be written: {error.strerror}: name another folder in "
            "BIRTHMARK_CACHE"
        ) from error


def _folders(entry: Entry) -> list[Path]:
    return [f for f in candidate_folders(entry) if not _is_of_another(f, entry)]


def _is_of_another(folder: Path, entry: Entry) -> bool:
    """Whether the files lying freely in a named folder are those of another data set.

    MNIST and Fashion-MNIST share the names of their files; the small file of test
    labels tells which it is.
    """
    labels = entry.files[-1] if entry.files else None
    if labels is None or not labels.md5 or folder not in named_folders():
        return False
    path = first_file([folder], *labels.names)
    if path is None:
        return False
    try:
        got = hashlib.md5(unpack(path, 8 + entry.num_test)).hexdigest()
    except DataError:
        return False  # damaged: reading it will say so
    others = (other for other in CATALOGUE.values() if other.name != entry.name)
    return any(got == file.md5 for other in others for file in other.files)
