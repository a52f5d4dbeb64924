"""Where files of data sets are looked for, and how one is written.

Folders named in `BIRTHMARK_DATA` come first, then the cache: `BIRTHMARK_CACHE`, or the
user's cache folder.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pooch

from birthmark.data.entries import Entry
from birthmark.errors import DataError
from birthmark.whole_files import replacing as replacing_file


def cache_folder(entry: Entry) -> Path:
    """Where files of a data set are kept; it need not exist."""
    named = os.environ.get("BIRTHMARK_CACHE")
    cache = Path(os.path.expanduser(named or pooch.os_cache("birthmark")))  # noqa: PTH111
    return cache / entry.folder_names[-1]


def named_folders() -> list[Path]:
    """The folders in `BIRTHMARK_DATA`."""
    named = os.environ.get("BIRTHMARK_DATA", "").split(os.pathsep)
    # a user whom nobody knows leaves it as it is, and `Path.expanduser` fails
    return [Path(os.path.expanduser(folder)) for folder in named if folder]  # noqa: PTH111


def candidate_folders(entry: Entry) -> list[Path]:
    """Folders that may hold the files of a data set, in the order of looking.

    In a named folder they lie in a subfolder with the name of the data set, or freely.
    """
    subfolders = (*entry.folder_names, "")
    inside = [folder / sub for folder in named_folders() for sub in subfolders]
    return [*inside, cache_folder(entry)]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """As `whole_files.replacing`, in a folder that is made where it is missing.

    Raises:
        DataError: The folder cannot be written to; nothing half-written stays behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing_file(path) as temporary:
            yield temporary
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror}: name another folder in "
            "BIRTHMARK_CACHE"
        ) from error
