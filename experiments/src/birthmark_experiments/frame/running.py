"""Carry out an experiment, or read what was measured and shipped."""

from __future__ import annotations

import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from birthmark.errors import SpecError
from birthmark.spec import DataSpec
from birthmark.store import has_results, load_results, save_results
from .cache import hash_protocol
from .experiment import Experiment, find_experiment

if TYPE_CHECKING:
    from birthmark.figures import Drawing


def run_experiment(
    name: str | Experiment, folder: str | Path, scale: str = "full"
) -> xr.Dataset:
    """Measure, and save the results; what is there already is not measured again.

    What was measured under a protocol that has changed since is measured anew. The
    folder is that of this experiment (one of ours by name, or one of your own) alone.
    `full` is the protocol of the docs and takes minutes; `quick` shows in seconds that
    it works, and its numbers prove nothing.

    Raises:
        SpecError: No such experiment or scale, or the folder has another one.
        DataError: A data set is missing.
        KeyboardInterrupt: Stopped; the same call goes on.
    """
    from birthmark.data import load_dataset
    from birthmark.sweeps import describe_software

    experiment = name if isinstance(name, Experiment) else find_experiment(name)
    folder, protocol = Path(folder), experiment.protocol(scale)
    asked = {"experiment": experiment.name, "scale": scale}
    key = {"protocol": hash_protocol([experiment.package, protocol])}
    if has_results(folder):
        results, manifest = load_results(folder)
        found = {each: manifest.get(each) for each in asked}
        if found != asked:
            raise SpecError(f"{folder} holds results of {found}: name another folder")
        if manifest.get("protocol") == key["protocol"]:
            return results
    started = time.monotonic()
    data = experiment.data if scale == "full" else ()
    checksums = {each: load_dataset(DataSpec(name=each)).checksum for each in data}
    results = experiment.measure(scale, folder)
    manifest = {
        **asked,
        **key,
        **describe_software(),
        "data": checksums,
        "wall_time_s": round(time.monotonic() - started, 1),
    }
    save_results(folder, results, manifest)
    return load_results(folder)[0]


def shipped_results(name: str) -> xr.Dataset:
    """The results that come with the package, measured at the full scale.

    Raises:
        SpecError: No such experiment.
        StoreError: It ships no results.
    """
    package = find_experiment(name).package
    with resources.as_file(resources.files(package)) as path:
        return load_results(path)[0]


def draw_experiment(name: str, results: xr.Dataset) -> Drawing:
    """The figure of an experiment, from what `run_experiment` gives."""
    return find_experiment(name).draw(results)
