"""Copies of finished runs: compact for a package or a paper, or whole to any URL.

A copy to a URL is complete when its mark of completion is there, which goes last; what
was interrupted is begun anew. Each file has its checksum in it, so a copy that is
brought back is checked when it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from birthmark.errors import MissingDependencyError, StoreError
from birthmark.experiments import find_package
from birthmark.shapes import Layer, Weights
from birthmark.store import files
from birthmark.store.columns import to_float32
from birthmark.store.contents import check_contents
from birthmark.store.layout import STORE_FILE, RunPaths, last_epoch
from birthmark.store.runs import Store, open_store
from birthmark.store.segments import TABLES, open_table, write_compact


def ship_run(
    store: Store, run_key: str, target: Store, *, pictures: Sequence[int] = ()
) -> int:
    """Write a compact copy of a finished run into another store.

    Spec and manifest stay as they are, losses and counts too, at every epoch. What was
    measured of the weights (scalars, moments, quantiles, spectra) is rounded to
    float32, counts by bin are exact. Weights are left out, but for the pictures of the
    mark: the marked layer at the epochs asked for, in float16. A copy that is there
    already is replaced.

    Args:
        store: With the run.
        run_key: Of the run.
        target: Another store.
        pictures: Epochs at which the run kept the weights of its marked layer.

    Returns:
        The bytes of the copy.

    Raises:
        StoreError: The run is not done, has no mark or no weights for the pictures, or
            a file cannot be read or written.
    """
    spec = store.spec(run_key)
    origin = RunPaths(store.path / spec.run_key)
    if not origin.done.exists():
        raise StoreError(
            f"run {spec.run_key} in {store.path} is not done: finish it before it is "
            "shipped"
        )
    if pictures and spec.mark is None:
        raise StoreError(f"run {spec.run_key} has no mark: ship it without pictures")
    kept = {epoch: store.weights(spec.run_key, epoch) for epoch in pictures}
    folder = target.path / spec.run_key
    _clear(folder)
    run = target.start_run(spec)
    with run.closed_on_failure():
        files.write_json(run.paths.schema, files.read_json(origin.schema))
        for table in TABLES:
            stored = open_table(origin.folder, table)
            if stored is not None:
                rows = stored.read()
                narrow = rows if table == "metrics" else to_float32(rows)
                last = last_epoch(origin.folder, table)
                write_compact(folder, table, narrow.combine_chunks(), last)
        for epoch, weights in kept.items():
            assert spec.mark is not None
            run.save_weights(epoch, _to_float16(weights, spec.mark.layer))
        run.save_manifest(store.manifest(spec.run_key))
        run.seal()
    return sum(path.stat().st_size for path in folder.iterdir())


def open_shipped(name: str = "paper") -> Store:
    """The store of records that comes with the package; nothing may be written to it.

    Args:
        name: `paper`: runs of the protocol of Jesus et al., arXiv 2012.02550.

    Raises:
        StoreError: This copy of the package has no such records.
    """
    package = find_package(f"opening the shipped records of {name!r}")
    records = resources.files(package) / name / "records"
    with resources.as_file(records) as folder:
        return open_store(folder)


def _clear(folder: Path) -> None:
    """Remove a copy, its mark of completion first."""
    for path in sorted(folder.glob("*"), key=lambda path: path.name != "done"):
        files.remove(path)


def _to_float16(weights: Weights, layer: str) -> Weights:
    marked = weights[layer]
    narrow: list[Any] = [np.float16(values) for values in (marked.w, marked.b)]
    return Weights({layer: Layer(*narrow)})


def copy_run(store: Store, run_key: str, url: str) -> bool:
    """Copy a run that is done to a folder named by a URL; False if it was there.

    Args:
        store: Where it is.
        run_key: Its whole key.
        url: Of the folder of all copies, which becomes a store: `s3://bucket/runs`.

    Raises:
        MissingDependencyError: fsspec, or what it needs for this URL, is not installed.
        DamageError: It is damaged.
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
        store.description(run_key)
        check_contents(paths)  # a damaged copy would stay, as it is there already
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
