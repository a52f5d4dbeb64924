"""Readings of each goal, and outcomes of the training, by start and replica."""

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
from ..frame import gather
from ..frame.probes import as_inputs, as_tensors, flatten_replica, train_all
from .facts import GOALS
from .protocol import LOOKED_AT, Protocol, chosen_starts, describe, spec_of

_WORDS = {
    "reading": ("what the goal asks about, at the start", "1"),
    "kind": ("where the start is from", "name"),
    "also": ("other rules that draw the same numbers", "name"),
    "is_met": ("whether the goal is met", "1"),
    "goal_title": ("the goal in words", "name"),
    "steps": ("steps to a test loss, at most all", "steps"),
    "is_censored": ("whether it was not reached", "1"),
    "mean_test_loss": ("mean test loss over the training", "nat"),
    "test_accuracy": ("final test accuracy", "1"),
    "test_loss": ("test loss", "nat"),
}


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
        found.append(_tabulate(specs, store))
    learned = xr.concat(found, "lr", join="outer").assign_coords(lr=list(protocol.lrs))
    readings = np.array([read_goals(store, first[one.name], dataset) for one in starts])
    names = [one.name for one in starts]
    also = [", ".join(k for k, v in same.items() if v == name) or "-" for name in names]
    values = {
        "reading": (("initialization", "replica", "goal"), readings),
        "kind": ("initialization", [one.kind for one in starts]),
        "also": ("initialization", also),
    }
    goals = {"goal": [goal.name for goal in GOALS]}
    results = learned.merge(gather(_WORDS, values, goals))
    results.attrs = {"protocol": describe(protocol), "depth": protocol.depth}
    return add_verdicts(results)


def add_verdicts(results: xr.Dataset) -> xr.Dataset:
    """The results with which goals are met: the median over replicas decides."""
    readings = results["reading"].transpose("initialization", "replica", "goal")
    # one without a reading is one that does not meet the goal
    values_ARG = readings.fillna(np.inf).to_numpy()
    middle_AG = np.median(values_ARG, axis=1)
    met = [goal.is_met(middle_AG[:, place]) for place, goal in enumerate(GOALS)]
    values = {
        "is_met": (("initialization", "goal"), np.stack(met, axis=1)),
        "goal_title": ("goal", [goal.title for goal in GOALS]),
    }
    return results.assign(gather(_WORDS, values, {}))


def find_same(specs: dict[str, RunSpec], dataset: Dataset) -> dict[str, str]:
    """Names whose draw is that of an earlier one, and which one that is."""
    seen: dict[bytes, str] = {}
    same = {}
    for name, spec in specs.items():
        if batch_examples(spec):
            continue
        sizes = (dataset.num_inputs, dataset.num_classes)
        drawn_P = flatten_replica(draw_weights(spec, *sizes, replicas=[0]), 0)
        drawn = drawn_P.numpy().tobytes()
        if drawn in seen:
            same[name] = seen[drawn]
        seen.setdefault(drawn, name)
    return same


def read_goals(store: Store, spec: RunSpec, dataset: Dataset) -> Array:
    """What each goal asks about, [R, G], from the initial weights of a run."""
    batch = as_inputs(dataset, "train", LOOKED_AT)
    weights = as_tensors(store.weights(spec.run_key, 0))
    chain = Chain(spec.network, dataset.example_shape)
    modules = [to_module(weights, chain, row=r) for r in range(weights.num_replicas)]
    checkups = [check(module, batch) for module in modules]
    return np.array([[goal.read(one) for goal in GOALS] for one in checkups])


def _tabulate(specs: dict[str, RunSpec], store: Store) -> xr.Dataset:
    """Outcomes by start and replica, and the test loss along the training."""
    records = train_all(specs.values(), store)
    candidates = [
        Candidate(name, spec, one)
        for (name, spec), one in zip(specs.items(), records, strict=True)
    ]
    outcomes = {one.name: one for one in read_outcomes(candidates)}
    steps = [one for one in outcomes.values() if one.unit == "steps"]
    dims = ("initialization", "replica")
    loss = np.array([one.curve("test_loss") for one in candidates])
    censored = np.array([one.censored_AR for one in steps])
    values = {
        "steps": (("level", *dims), [one.values_AR for one in steps]),
        "is_censored": (("level", *dims), censored.astype(float)),
        "mean_test_loss": (dims, outcomes["mean_test_loss"].values_AR),
        "test_accuracy": (dims, outcomes["test_accuracy"].values_AR),
        "test_loss": (("initialization", "step", "replica"), loss),
    }
    coords = {
        "initialization": list(specs),
        "replica": range(candidates[0].frozen_R.size),
        "step": candidates[0].step_T.astype(np.int32),
        "level": [float(one.name.removeprefix("steps_to_")) for one in steps],
    }
    return gather(_WORDS, values, coords)
