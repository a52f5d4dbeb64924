"""Results of experiments: one data set of finished numbers, and where they come from.

Two files: `results.nc` (netCDF 3, which SciPy alone reads) and `manifest.json`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import xarray as xr

from birthmark.errors import StoreError
from birthmark.store.checksums import checksum
from birthmark.store.files import reading, replacing, sync, write_json

_RESULTS, _MANIFEST = "results.nc", "manifest.json"
_CHECKSUM = "results_sha256"


def has_results(folder: str | Path) -> bool:
    """Whether results were saved here; the manifest is written last."""
    return (Path(folder) / _MANIFEST).exists()


def save_results(
    folder: str | Path, results: xr.Dataset, manifest: Mapping[str, Any]
) -> None:
    """Write results and their manifest; the folder is made when it is missing.

    Args:
        folder: Of this experiment alone.
        results: Numbers of at most 32 bits or floats, and texts.
        manifest: Values are JSON.

    Raises:
        StoreError: They cannot be written, or netCDF 3 cannot hold them.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = bytes(results.to_netcdf(engine="scipy"))
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise StoreError(f"results cannot be written as netCDF 3: {error}") from error
    # killed in between, new numbers must not stand beside an old manifest
    (folder / _MANIFEST).unlink(missing_ok=True)
    with replacing(folder / _RESULTS) as path:
        path.write_bytes(content)
    facts = {**manifest, _CHECKSUM: hashlib.sha256(content).hexdigest()}
    write_json(folder / _MANIFEST, dict(sorted(facts.items())))
    sync(folder)


def load_results(folder: str | Path) -> tuple[xr.Dataset, dict[str, Any]]:
    """Results in memory, and their manifest.

    Raises:
        StoreError: A file is missing or damaged.
    """
    folder = Path(folder)
    path = folder / _MANIFEST
    with reading(path):
        text = path.read_bytes()
        checksum(path, text)  # none in those of before there were any
        manifest: dict[str, Any] = json.loads(text)
        manifest.pop("checksum", None)
        expected = manifest.pop(_CHECKSUM, None)
    with reading(folder / _RESULTS):
        content = (folder / _RESULTS).read_bytes()
        if expected not in (None, hashlib.sha256(content).hexdigest()):
            raise ValueError("not the bytes that its manifest was written for")
        return xr.load_dataset(BytesIO(content), engine="scipy"), manifest
