"""The figures of the experiments, one file each: results to a drawing."""

from __future__ import annotations

from importlib import import_module

import xarray as xr

from birthmark.figures.drawings import Drawing


def draw_experiment(name: str, results: xr.Dataset) -> Drawing:
    """The figure of an experiment.

    Args:
        name: Such as `constant-start`.
        results: As `run_experiment` gives them.
    """
    module = import_module(f"birthmark.figures.experiments.{name.replace('-', '_')}")
    drawing: Drawing = module.draw(results)
    return drawing
