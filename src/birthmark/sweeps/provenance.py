"""Where a number comes from: versions, commit, machine, data."""

import os
import platform
import subprocess
import sys
from collections import Counter
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from birthmark.shapes import Dataset
from birthmark.training import Training, describe_device

_PACKAGES = ("birthmark", "torch", "numpy", "pyarrow", "xarray", "pydantic")


def describe_origin(training: Training, dataset: Dataset) -> dict[str, Any]:
    """What a manifest says of software, machine and data; values are JSON."""
    largest = max(Counter(dataset.y_train.tolist()).values())
    return {
        **describe_software(),
        "device": describe_device(training.device),
        "threads": torch.get_num_threads(),
        "path": training.path_name,
        "products": training.products,
        "tuning": training.tuning,
        "num_parts": training.num_parts,
        "data": {
            "name": dataset.name,
            "checksum": dataset.checksum,
            "num_train": len(dataset.y_train),
            "num_test": len(dataset.y_test),
            "num_inputs": dataset.num_inputs,
        },
        # the loss of chance and the plateau of the clipped loss follow from these
        "num_classes": dataset.num_classes,
        "largest_class_share": largest / len(dataset.y_train),
        "steps_per_epoch": training.steps_per_epoch,
    }


def describe_software() -> dict[str, Any]:
    """Versions of Python and of the packages that numbers depend on, and the commit."""
    versions = {"python": platform.python_version(), **_versions()}
    return {"versions": versions, "commit": _commit()}


@cache
def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        # as loaded: of torch this names the build, which its record may not
        loaded = getattr(sys.modules.get(package), "__version__", None)
        try:
            found[package] = loaded or metadata.version(package)
        except metadata.PackageNotFoundError:  # run from a source tree
            found[package] = "source"
    return found


@cache  # of the code that this process has loaded; to ask git takes longer than a run
def _commit() -> str | None:
    """The commit of the checkout this package lies in, `+` when files differ."""
    folder = Path(__file__).parent
    try:
        inside = _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
        commit = _git(folder, "rev-parse", "HEAD") if inside else None
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}{'+' if changed else ''}"


def _git(folder: Path, *arguments: str) -> str:
    # without the lock that `status` would take to refresh the index of the user's
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, check=True)
    return os.fsdecode(done.stdout).strip()  # names of files may be any bytes
