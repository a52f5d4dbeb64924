"""What is here of a data set; how what is missing comes here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from birthmark.data.catalogue import CATALOGUE, find_entry
from birthmark.data.entries import Entry
from birthmark.data.folders import cache_folder
from birthmark.data.lookup import find_files, obtain, way_out, where_missing
from birthmark.data.wrappings import MOST_FILES
from birthmark.errors import DataError


@dataclass(frozen=True)
class LocalFiles:
    """A data set, and what is here of it; its content was not looked at."""

    name: str
    title: str
    licence: str
    num_train: int
    num_test: int
    num_classes: int
    image_shape: tuple[int, ...]
    files: tuple[Path, ...]  # those that are here
    missing: tuple[str, ...]  # names of those that are not: none for an embedded set

    @property
    def is_here(self) -> bool:
        """Whether it can be loaded without a network."""
        return not self.missing


@dataclass(frozen=True)
class Verification:
    """A data set that was read, with all its checksums right."""

    name: str
    files: tuple[Path, ...]
    num_train: int
    num_test: int
    checksum: str  # SHA-256 of all pixels and labels


def list_datasets() -> list[LocalFiles]:
    """Every data set of the catalogue, and what is here of it."""
    return [_holding(entry) for entry in CATALOGUE.values()]


def fetch_dataset(name: str, *, progress: bool = False) -> LocalFiles:
    """See to it that a data set is here: from a named folder, the cache, or mirrors.

    Args:
        name: A data set of the catalogue.
        progress: Whether to draw a bar on standard error for each download.

    Raises:
        SpecError: There is no data set of that name.
        DataError: A file is missing and no mirror gives it.
    """
    entry = find_entry(name)
    obtain(entry, progress=progress)
    return _holding(entry)


def import_dataset(name: str, path: str | Path) -> LocalFiles:
    """Take a file, or the files in a folder, into the cache.

    Files are known by their content: neither their names nor the way they were packed
    or unpacked matters, nor what else lies in the folder.

    Args:
        name: A data set of the catalogue.
        path: A file with one of its files or all of them (a npz file or an archive), or
            a folder with such files, at any depth.

    Raises:
        SpecError: There is no data set of that name.
        DataError: No such file, or it is damaged or not one of this data set: it is
            not kept, and nothing that was is harmed.
    """
    entry, path = find_entry(name), Path(path)
    if entry.keep is None:
        raise DataError(f"{name} is embedded and needs no import: use it by its name")
    if not path.exists():
        raise DataError(f"{path}: no such file: nothing imported")
    if path.is_dir():
        _import_folder(entry, path)
    elif not path.is_file():
        raise DataError(f"{path}: not a regular file: nothing imported")
    else:
        entry.keep(entry, path, cache_folder(entry))
    return _holding(entry)


def verify_dataset(name: str) -> Verification:
    """Read a data set that is here and check every file of it.

    Raises:
        SpecError: There is no data set of that name.
        DataError: It is not here, or a file of it is damaged.
    """
    entry = find_entry(name)
    paths = find_files(entry)
    for file in entry.files:
        if file.kept not in paths:
            raise DataError(f"{where_missing(entry, file)}; {way_out(entry, file)}")
    examples = entry.read(entry, paths, 1)
    return Verification(
        name=name,
        files=tuple(paths.values()),
        num_train=len(examples.y_train),
        num_test=len(examples.y_test),
        checksum=examples.checksum,
    )


def _holding(entry: Entry) -> LocalFiles:
    found = find_files(entry)
    return LocalFiles(
        name=entry.name,
        title=entry.title,
        licence=entry.licence,
        num_train=entry.num_train,
        num_test=entry.num_test,
        num_classes=entry.num_classes,
        image_shape=entry.image_shape,
        files=tuple(found.values()),
        missing=tuple(file.name for file in entry.files if file.kept not in found),
    )


def _import_folder(entry: Entry, folder: Path) -> None:
    """Keep every file of the set that lies in a folder, the likeliest names first."""
    assert entry.keep is not None
    names = [name for file in entry.files for name in (file.name, *file.names)]
    stems = [_stem(name) for name in names]
    files = sorted(_files_in(folder), key=lambda f: _likeness(f.name, names, stems))
    missing = {file.kept for file in entry.files}
    damaged: DataError | None = None
    for file in files[:MOST_FILES]:
        if not missing:
            return
        try:
            missing -= set(entry.keep(entry, file, cache_folder(entry)))
        except DataError as error:
            if file.name in names:
                damaged = damaged or error
    if missing and len(entry.files) == 1:  # which may lie there unpacked
        try:
            missing -= set(entry.keep(entry, folder, cache_folder(entry)))
        except DataError as error:
            damaged = damaged or error
    if missing and damaged is not None:
        raise damaged  # there was no better copy of it
    if len(missing) == len(entry.files):
        wanted = ", ".join(file.name for file in entry.files)
        looked = f"the first {MOST_FILES:,} of " if len(files) > MOST_FILES else ""
        raise DataError(
            f"{folder}: none of the files of {entry.name} in {looked}"
            f"{len(files):,} files: {wanted}"
        )


def _likeness(name: str, names: list[str], stems: list[str]) -> int:
    """Where to look first: 0 for the very name, 1 for one that begins alike, 2."""
    if name in names:
        return 0
    return 1 if _stem(name).startswith(tuple(stems)) else 2


def _stem(name: str) -> str:
    """Letters and digits of a name without its endings, in one case."""
    kept = "".join(letter for letter in name.lower() if letter.isalnum())
    return kept.removesuffix("gz").removesuffix("npz")


def _files_in(folder: Path) -> Iterator[Path]:
    """All regular files at any depth, also behind links, in order of their paths."""
    seen: set[str] = set()
    for here, below, names in os.walk(folder, followlinks=True):
        if os.path.realpath(here) in seen:
            below.clear()  # a link that leads back
            continue
        seen.add(os.path.realpath(here))
        below.sort()
        yield from (p for name in sorted(names) if (p := Path(here, name)).is_file())
