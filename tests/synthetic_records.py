"""Records with known curves, built without the rooms that usually write them."""

from typing import Any

import numpy as np
import xarray as xr

from birthmark.analysis import Run
from birthmark.shapes import Array
from birthmark.spec import RunSpec

STEPS_AN_EPOCH = 12


def make_spec(width: int = 64, replicas: int = 5, **settings: Any) -> RunSpec:
    """A spec for digits of 400 epochs; dotted settings with `__` for the dot."""
    spec = RunSpec(
        data={"name": "digits"},
        network={"widths": [width, width]},
        training={"epochs": 400},
        run={"replicas": replicas},
    )
    return spec.with_settings({k.replace("__", "."): v for k, v in settings.items()})


def make_records(
    train: Array,
    *,
    deviation: Array | None = None,
    test: Array | None = None,
    epochs: Array | None = None,
    nonfinite_step: Array | None = None,
    counts: dict[str, Array] | None = None,
    scalars: dict[str, Array] | None = None,
    **facts: float,
) -> xr.Dataset:
    """Records from curves [T, R]; layer scalars are given for `hidden2` alone."""
    steps, replicas = train.shape
    at = np.arange(steps) if epochs is None else epochs
    by_epoch = {"train_loss": train, "test_loss": train if test is None else test}
    by_layer = {
        "deviation_std": np.ones_like(train) if deviation is None else deviation
    }
    variables: dict[str, Any] = {
        name: (("step", "replica"), values)
        for name, values in (by_epoch | (counts or {})).items()
    }
    for name, values in (by_layer | (scalars or {})).items():
        every = np.full((steps, replicas, 3), np.nan)
        every[:, :, 1] = values
        variables[name] = (("step", "replica", "layer"), every)
    frozen = np.full(replicas, -1) if nonfinite_step is None else nonfinite_step
    variables["nonfinite_step"] = ("replica", frozen)
    coords = {
        "step": at * STEPS_AN_EPOCH,
        "epoch": ("step", at),
        "layer": ["hidden1", "hidden2", "output"],
    }
    attrs = {"num_classes": 10, "largest_class_share": 0.1} | facts
    return xr.Dataset(variables, coords, attrs)


def make_run(spec: RunSpec, train: Array, **more: Any) -> Run:
    """A run of a study."""
    return Run(spec.run_key, spec, make_records(train, **more))
