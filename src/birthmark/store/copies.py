"""Finished runs copied to wherever fsspec reaches: a bucket, another machine, a folder.

A copy is complete when its mark of completion is there, which goes last; what was
interrupted is begun anew. Each file has its checksum in it, so a copy that is brought
back is checked when it is read.
"""

from __future__ import annotations

from typing import Any

from birthmark.errors import MissingDependencyError, StoreError
from birthmark.store.layout import STORE_FILE, RunPaths
from birthmark.store.runs import Store


def copy_run(store: Store, run_key: str, url: str) -> bool:
    """Copy a run that is done to a folder named by a URL; False if it was there.

    Args:
        store: Where it is.
        run_key: Its whole key.
        url: Of the folder of all copies, which becomes a store: `s3://bucket/runs`.

    Raises:
        MissingDependencyError: fsspec, or what it needs for this URL, is not installed.
        StoreError: It cannot be copied, or is not done.
    """
    paths = RunPaths(store.path / run_key)
    if not paths.done.exists():
        raise StoreError(f"run {run_key} is not done, and only whole runs are copied")
    system, root = find_copies(url)
    files = [path for path in paths.folder.iterdir() if path != paths.claim]
    try:
        if system.exists(f"{root}/{run_key}/{paths.done.name}"):
            return False
        system.makedirs(f"{root}/{run_key}", exist_ok=True)
        system.put_file(str(store.path / STORE_FILE), f"{root}/{STORE_FILE}")
        for path in sorted(files, key=lambda path: path == paths.done):
            system.put_file(str(path), f"{root}/{run_key}/{path.name}")
    except (OSError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise StoreError(f"cannot copy run {run_key} to {url}: {reason}") from error
    return True


def find_copies(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the folder in it.

    Raises:
        MissingDependencyError: fsspec, or what it needs for this URL, is not installed.
        StoreError: It is no URL.
    """
    try:
        import fsspec
    except ImportError as error:
        raise MissingDependencyError(
            "copies need fsspec: pip install fsspec"
        ) from error
    try:
        system, root = fsspec.url_to_fs(url)
    except ImportError as error:
        raise MissingDependencyError(f"{url} cannot be reached: {error}") from error
    except ValueError as error:
        raise StoreError(f"{url} is no URL that fsspec knows: {error}") from error
    return system, str(root).rstrip("/")
