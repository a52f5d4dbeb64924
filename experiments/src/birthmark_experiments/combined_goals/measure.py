"""Readings of each goal, and outcomes of the training, by start and replica."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from birthmark.analysis import Candidate, read_outcomes
from birthmark.checkup import check
from birthmark.data import load_dataset
from birthmark.network import Chain, batch_examples, draw_weights, to_module
from birthmark.shapes import Array, Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store, open_store
from birthmark.sweeps import Grid, run_grid
from birthmark_experiments.combined_goals.facts import GOALS
from birthmark_experiments.combined_goals.protocol import (
    LOOKED_AT,
    Protocol,
    chosen_starts,
    describe,
    spec_of,
)
from birthmark_experiments.frame import variable
from birthmark_experiments.frame.probes import as_inputs, as_tensors


def measure(protocol: Protocol, folder: Path) -> xr.Dataset:
    """Readings of each goal, and outcomes of the training, by start and replica."""
    store = open_store(folder / "store", create=True)
    first = {one.name: spec_of(protocol, one.rule) for one in chosen_starts(protocol)}
    dataset = load_dataset(next(iter(first.values())).data)
    same = find_same(first, dataset)
    starts = [one for one in chosen_starts(protocol) if one.name not in same]
    found = []
    for place in (0, 1):
        specs = {one.name: spec_of(protocol, one.rule, place) for one in starts}
        run_grid(Grid(tuple(specs.values())), store)
        found.append(_tabulate(specs, store, protocol))
    learned = xr.concat(found, "lr", join="outer").assign_coords(lr=list(protocol.lrs))
    readings = np.array([read_goals(store, first[one.name], dataset) for one in starts])
    names = [one.name for one in starts]
    also = [", ".join(k for k, v in same.items() if v == name) or "-" for name in names]
    results = learned.assign(
        reading=variable(
            ("initialization", "replica", "goal"),
            readings,
            "what the goal asks about, at the start",
        ),
        kind=variable(
            "initialization",
            [one.kind for one in starts],
            "where the start is from",
            "name",
        ),
        also=variable(
            "initialization", also, "other rules that draw the same numbers", "name"
        ),
        goal=[goal.name for goal in GOALS],
    )
    results.attrs = {"protocol": describe(protocol), "depth": protocol.depth}
    return add_verdicts(results)


def add_verdicts(results: xr.Dataset) -> xr.Dataset:
    """The results with which goals are met: the median over replicas decides."""
    readings = results["reading"].transpose("initialization", "replica", "goal")
    # one without a reading is one that does not meet the goal
    values_ARG = readings.fillna(np.inf).to_numpy()
    middle_AG = np.median(values_ARG, axis=1)
    met = [goal.is_met(middle_AG[:, place]) for place, goal in enumerate(GOALS)]
    return results.assign(
        is_met=variable(
            ("initialization", "goal"), np.stack(met, axis=1), "whether the goal is met"
        ),
        goal_title=variable(
            "goal", [goal.title for goal in GOALS], "the goal in words", "name"
        ),
    )


def find_same(specs: dict[str, RunSpec], dataset: Dataset) -> dict[str, str]:
    """Names whose draw is that of an earlier one, and which one that is."""
    seen: dict[bytes, str] = {}
    same = {}
    for name, spec in specs.items():
        if batch_examples(spec):
            continue
        weights = draw_weights(
            spec, dataset.num_inputs, dataset.num_classes, replicas=[0]
        )
        drawn = b"".join(
            tensor.numpy().tobytes()
            for _, layer in weights.items()
            for tensor in (layer.w, layer.b)
        )
        if drawn in seen:
            same[name] = seen[drawn]
        seen.setdefault(drawn, name)
    return same


def read_goals(store: Store, spec: RunSpec, dataset: Dataset) -> Array:
    """What each goal asks about, [R, G], from the initial weights of a run."""
    batch = as_inputs(dataset, "train", LOOKED_AT)
    weights = as_tensors(store.weights(spec.run_key, 0))
    chain = Chain(spec.network, dataset.example_shape)
    checkups = [
        check(to_module(weights, chain, row=row), batch)
        for row in range(weights.num_replicas)
    ]
    return np.array([[goal.read(one) for goal in GOALS] for one in checkups])


def _tabulate(
    specs: dict[str, RunSpec], store: Store, protocol: Protocol
) -> xr.Dataset:
    """Outcomes by start and replica, and the test loss along the training."""
    candidates = [
        Candidate(name, spec, store.records(spec.run_key, distributions=False))
        for name, spec in specs.items()
    ]
    outcomes = {one.name: one for one in read_outcomes(candidates)}
    steps = [one for one in outcomes.values() if one.unit == "steps"]
    dims = ("initialization", "replica")
    loss = np.array([one.curve("test_loss") for one in candidates])
    return xr.Dataset(
        {
            "steps": variable(
                ("level", *dims),
                np.array([one.values_AR for one in steps]),
                "steps to a test loss, at most all",
                "steps",
            ),
            "is_censored": variable(
                ("level", *dims),
                np.array([one.censored_AR for one in steps]).astype(float),
                "whether it was not reached",
            ),
            "mean_test_loss": variable(
                dims,
                outcomes["mean_test_loss"].values_AR,
                outcomes["mean_test_loss"].title,
                "nat",
            ),
            "test_accuracy": variable(
                dims,
                outcomes["test_accuracy"].values_AR,
                outcomes["test_accuracy"].title,
            ),
            "test_loss": variable(
                ("initialization", "step", "replica"), loss, "test loss", "nat"
            ),
        },
        {
            "initialization": list(specs),
            "replica": np.arange(candidates[0].frozen_R.size, dtype=np.int32),
            "step": candidates[0].step_T.astype(np.int32),
            "level": [float(one.name.removeprefix("steps_to_")) for one in steps],
        },
    )
