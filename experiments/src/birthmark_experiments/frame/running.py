"""Carry out an experiment, or read what was measured and shipped."""

from __future__ import annotations

import time
from importlib import import_module, resources
from pathlib import Path

import xarray as xr

from birthmark.errors import SpecError, unknown_name
from birthmark.figures import Drawing
from birthmark.spec import DataSpec
from birthmark.store import has_results, load_results, save_results
from birthmark_experiments.frame.experiment import Experiment

SCALES = ("full", "quick")

# an experiment's module is loaded when it is asked for: most need torch
_MODULES: tuple[str, ...] = (
    "constant_start",
    "deterministic_start",
    "pretrained_start",
    "depth",
    "critical_variance",
    "combined_goals",
    "initialization_or_optimizer",
    "abandonment",
    "rescue",
    "who_is_abandoned",
    "near_the_start",
    "near_the_start_unstable",
    "protocol_details",
    "sharpness",
    "sharpness_paper",
)


def find_experiment(name: str) -> Experiment:
    """The experiment of this name.

    Raises:
        SpecError: There is none; the message has the nearest.
    """
    _check_name(name)
    module = import_module(f"{_folder(name)}.measure")
    experiment: Experiment = module.EXPERIMENT
    return experiment


def experiment_names() -> list[str]:
    """All names, in the order of the docs."""
    return [module.replace("_", "-") for module in _MODULES]


def run_experiment(name: str, folder: str | Path, scale: str = "full") -> xr.Dataset:
    """Measure, and save the results; what is there already is not measured again.

    Args:
        name: Of the experiment.
        folder: Of this experiment alone: its runs and results.
        scale: `full`: the protocol of the docs, minutes. `quick`: seconds, to see that
            it works; its numbers prove nothing.

    Raises:
        SpecError: No such experiment or scale, or the folder has another one.
        DataError: A data set is missing.
        KeyboardInterrupt: Stopped; the same call goes on.
    """
    from birthmark.data import load_dataset
    from birthmark.sweeps import describe_software

    experiment = find_experiment(name)
    if scale not in SCALES:
        raise unknown_name("scale", scale, SCALES)
    folder = Path(folder)
    asked = {"experiment": name, "scale": scale}
    if has_results(folder):
        results, manifest = load_results(folder)
        found = {key: manifest.get(key) for key in asked}
        if found != asked:
            raise SpecError(f"{folder} holds results of {found}: name another folder")
        return results
    started = time.monotonic()
    data = experiment.data if scale == "full" else ()
    checksums = {each: load_dataset(DataSpec(name=each)).checksum for each in data}
    results = experiment.measure(scale, folder)
    manifest = {
        **asked,
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
    _check_name(name)
    with resources.as_file(resources.files(_folder(name))) as path:
        return load_results(path)[0]


def draw_experiment(name: str, results: xr.Dataset) -> Drawing:
    """The figure of an experiment.

    Args:
        name: Such as `constant-start`.
        results: As `run_experiment` gives them.
    """
    drawing: Drawing = import_module(f"{_folder(name)}.figure").draw(results)
    return drawing


def _check_name(name: str) -> None:
    if name not in experiment_names():
        raise unknown_name("experiment", name, experiment_names())


def _folder(name: str) -> str:
    return f"birthmark_experiments.{name.replace('-', '_')}"
