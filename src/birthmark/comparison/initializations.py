"""A comparison of initializations on one page: name, train in pairs, compare.

It joins two rooms that do not know each other: `sweeps` trains, `analysis` compares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from birthmark.analysis import Contest, Entrant, make_contest
from birthmark.data import load_dataset
from birthmark.errors import SpecError
from birthmark.shapes import EpochMetrics
from birthmark.spec import RunSpec
from birthmark.store import Store, open_store
from birthmark.sweeps import (
    Factory,
    Grid,
    Progress,
    Rule,
    RunResult,
    build_models,
    entrant_specs,
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
    shape: str = "auto",
    starting: Callable[[int, str], None] | None = None,
    watch: Callable[[Progress], None] | None = None,
    finished: Callable[[RunResult], None] | None = None,
) -> Contest:
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
        shape: How the model takes an example: `flat`, `image` or `auto`.
        starting: See `run_grid`, as `watch` and `finished`.
        watch: Called a few times a second.
        finished: Called with the result of each run.

    Raises:
        SpecError, HardwareError, DataError, StoreError: Before any work is done.
        KeyboardInterrupt: It was stopped, and saved: the same call goes on.
    """
    if model is not None:
        return compare_models(model, initializations, spec, losses=losses, shape=shape)
    if store is None:
        raise SpecError("give a store for the runs, or a model of your own")
    _check(spec, losses)
    rules = name_rules(initializations)
    specs = entrant_specs(spec, rules.values())
    if not isinstance(store, Store):
        store = open_store(store, create=True)
    run_grid(
        Grid(tuple(specs)), store, starting=starting, watch=watch, finished=finished
    )
    entrants = []
    for name, one in zip(rules, specs, strict=True):
        records = store.records(one.run_key, distributions=False)
        entrants.append(Entrant(name, one, records, one.run_key))
    return make_contest(entrants, losses)


def compare_models(
    factory: Factory,
    initializations: Sequence[Rule],
    spec: RunSpec,
    *,
    losses: Sequence[float] = (),
    shape: str = "auto",
    watch: Callable[[str, EpochMetrics], None] | None = None,
) -> Contest:
    """As `compare`, for a user's model; nothing is stored.

    Args:
        factory: Makes one model; called once a replica and initialization.
        initializations: As for `compare`, or `as_built`: as the factory made it.
        spec: Data, training, replicas and seed; its network does not count.
        losses: Test losses to be reached.
        shape: How the model takes an example: `flat`, `image` or `auto`.
        watch: Called with the name of the initialization at the end of each epoch.

    Raises:
        SpecError, HardwareError, DataError: Before any training.
    """
    _check(spec, losses)
    rules = name_rules(initializations)
    dataset = load_dataset(spec.data)
    one = spec.model_copy(update={"run": spec.run.model_copy(update={"replicas": 1})})
    for rule in rules.values():  # refused before the first of them is trained
        build_models(factory, rule, one, dataset, shape=shape)
    entrants = []
    for name, rule in rules.items():

        def look(metrics: EpochMetrics, name: str = name) -> None:
            if watch is not None:
                watch(name, metrics)

        records = train_models(factory, rule, spec, dataset, shape=shape, watch=look)
        entrants.append(Entrant(name, spec, records))
    return make_contest(entrants, losses)


def _check(spec: RunSpec, losses: Sequence[float]) -> None:
    """What would be refused only after the training is refused before it."""
    if spec.run.replicas < 2:
        raise SpecError(
            f"run.replicas: a comparison needs 2 at least, got {spec.run.replicas}"
        )
    for loss in losses:
        if not 0 < loss < float("inf"):
            raise SpecError(f"a loss to be reached is a number above 0, got {loss}")
