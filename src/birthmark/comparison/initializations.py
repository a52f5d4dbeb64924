"""A comparison of initializations on one page: name, train in pairs, compare.

It joins two rooms that do not know each other: `sweeps` trains, `analysis` compares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import xarray as xr

from birthmark.analysis import Candidate, Comparison, make_comparison
from birthmark.data import load_dataset
from birthmark.errors import SpecError
from birthmark.shapes import Dataset, EpochMetrics
from birthmark.spec import RunSpec
from birthmark.store import Store, open_store
from birthmark.sweeps import (
    Factory,
    Grid,
    Progress,
    Rule,
    RunResult,
    build_models,
    candidate_specs,
    name_rules,
    run_grid,
    train_models,
)


def compare(
    initializations: Sequence[Rule],
    spec: RunSpec,
    *,
    store: str | Path | Store | None = None,
    model: Factory | None = None,
    losses: Sequence[float] = (),
    lrs: Sequence[float] = (),
    shape: str = "auto",
    starting: Callable[[int, str], None] | None = None,
    watch: Callable[[Progress], None] | None = None,
    finished: Callable[[RunResult], None] | None = None,
) -> Comparison:
    """Train a network from several initializations, in pairs, and compare.

    All replicas of one number see the same batches in the same order; every
    initialization has the same budget. What the store has already is not run again.
    A user's model is not stored: see `compare_models`.

    Args:
        initializations: Names or tables of rules, at least two.
        spec: The protocol; its own rule of weights does not count.
        store: Folder of the store; made when it is missing. Needed without a model.
        model: Makes one torch module; without it the dense network of the spec is
            trained.
        losses: Test losses to be reached; 0.5, 0.25 and 0.1 of that of a guess unless
            given.
        lrs: Learning rates to choose from, for each initialization its own: the one of
            the lowest mean test loss at the end, on the next seed, so that the choice
            does not favour anybody in the comparison.
        shape: How the model takes an example: `flat`, `image` or `auto`.
        starting: See `run_grid`, as `watch` and `finished`.
        watch: Called a few times a second.
        finished: Called with the result of each run.

    Raises:
        SpecError, HardwareError, DataError, StoreError: Before any work is done.
        KeyboardInterrupt: It was stopped, and saved: the same call goes on.
    """
    if model is not None:
        return compare_models(
            model, initializations, spec, losses=losses, lrs=lrs, shape=shape
        )
    if store is None:
        raise SpecError("give a store for the runs, or a model of your own")
    _check(spec, losses, lrs)
    rules = name_rules(initializations)
    if not isinstance(store, Store):
        store = open_store(store, create=True)
    specs = candidate_specs(spec, rules.values())
    if lrs:
        pilots = _pilots(specs, lrs)
        run_grid(
            Grid(tuple(one for tried in pilots for one in tried)),
            store,
            starting=starting,
            watch=watch,
            finished=finished,
        )
        found = [
            [store.records(one.run_key, distributions=False) for one in tried]
            for tried in pilots
        ]
        specs = [
            one.with_settings({"training.lr": lrs[_best(records)]})
            for one, records in zip(specs, found, strict=True)
        ]
    run_grid(
        Grid(tuple(specs)), store, starting=starting, watch=watch, finished=finished
    )
    candidates = []
    for name, one in zip(rules, specs, strict=True):
        records = store.records(one.run_key, distributions=False)
        candidates.append(Candidate(name, one, records, one.run_key))
    return make_comparison(candidates, losses, tuned=bool(lrs))


def _pilots(specs: Sequence[RunSpec], lrs: Sequence[float]) -> list[list[RunSpec]]:
    """Each spec with each learning rate, on the seed that follows."""
    return [
        [
            spec.with_settings({"training.lr": lr, "run.seed": spec.run.seed + 1})
            for lr in lrs
        ]
        for spec in specs
    ]


def _best(tried: Sequence[xr.Dataset]) -> int:
    """Which of several runs ends at the lowest test loss, in the mean of replicas."""
    ends = [float(records.test_loss.isel(step=-1).mean("replica")) for records in tried]
    return min(range(len(ends)), key=lambda i: (not math.isfinite(ends[i]), ends[i]))


def compare_models(
    factory: Factory,
    initializations: Sequence[Rule],
    spec: RunSpec,
    *,
    losses: Sequence[float] = (),
    lrs: Sequence[float] = (),
    dataset: Dataset | None = None,
    shape: str = "auto",
    watch: Callable[[str, EpochMetrics], None] | None = None,
) -> Comparison:
    """As `compare`, for a user's model; nothing is stored.

    Args:
        factory: Makes one model; called once a replica and initialization.
        initializations: As for `compare`, or `as_built`: as the factory made it.
        spec: Data, training, replicas and seed; its network does not count.
        losses: Test losses to be reached.
        lrs: See `compare`.
        dataset: In the place of the one that the spec names.
        shape: How the model takes an example: `flat`, `image` or `auto`.
        watch: Called with the name of the initialization at the end of each epoch.

    Raises:
        SpecError, HardwareError, DataError: Before any training.
    """
    _check(spec, losses, lrs)
    rules = name_rules(initializations)
    dataset = load_dataset(spec.data) if dataset is None else dataset
    one = spec.model_copy(update={"run": spec.run.model_copy(update={"replicas": 1})})
    for rule in rules.values():  # refused before the first of them is trained
        build_models(factory, rule, one, dataset, shape=shape)
    candidates = []
    for name, rule in rules.items():

        def look(metrics: EpochMetrics, name: str = name) -> None:
            if watch is not None:
                watch(name, metrics)

        chosen = spec
        if lrs:
            tried = [
                train_models(factory, rule, pilot, dataset, shape=shape)
                for pilot in _pilots([spec], lrs)[0]
            ]
            chosen = spec.with_settings({"training.lr": lrs[_best(tried)]})
        records = train_models(factory, rule, chosen, dataset, shape=shape, watch=look)
        candidates.append(Candidate(name, chosen, records))
    return make_comparison(candidates, losses, tuned=bool(lrs))


def _check(spec: RunSpec, losses: Sequence[float], lrs: Sequence[float]) -> None:
    """What would be refused only after the training is refused before it."""
    if spec.run.replicas < 2:
        raise SpecError(
            f"run.replicas: a comparison needs 2 at least, got {spec.run.replicas}"
        )
    for loss in losses:
        if not 0 < loss < float("inf"):
            raise SpecError(f"a loss to be reached is a number above 0, got {loss}")
    for lr in lrs:
        if not 0 < lr < float("inf"):
            raise SpecError(f"a learning rate to be tried is above 0, got {lr}")
