"""A comparison of initializations on one page: name, train in pairs, compare.

It joins two rooms that do not know each other: `sweeps` trains, `analysis` compares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from birthmark.analysis import Candidate, Comparison, make_comparison
from birthmark.data import load_dataset
from birthmark.errors import SpecError
from birthmark.shapes import Dataset, EpochMetrics
from birthmark.spec import RuleSpec, RunSpec
from birthmark.store import Store, open_store
from birthmark.sweeps import (
    Factory,
    Grid,
    Initialize,
    OwnData,
    OwnParts,
    Progress,
    Rule,
    RunResult,
    build_models,
    candidate_specs,
    name_function,
    name_rules,
    read_own_data,
    run_grid,
    train_models,
    try_own,
)


def compare(
    initializations: Sequence[Rule],
    spec: RunSpec,
    *,
    store: str | Path | Store | None = None,
    model: Factory | None = None,
    data: Any = None,
    loss: Callable[[Any, Any], Any] | None = None,
    optimizer: Callable[[Any], Any] | None = None,
    losses: Sequence[float] = (),
    lrs: Sequence[float] = (),
    shape: str = "auto",
    starting: Callable[[int, str], None] | None = None,
    watch: Callable[[Progress], None] | None = None,
    finished: Callable[[RunResult], None] | None = None,
) -> Comparison:
    """Train a network from several initializations, in pairs, and compare.

    All replicas of one number see the same batches in the same order; every
    initialization has the same budget. What the store has already is not run again, and
    what was stopped or killed goes on.

    Args:
        initializations: Names or tables of rules, at least two; with a model also
            `as_built`, and functions that are called with it.
        spec: The protocol; its own rule of weights does not count.
        store: Folder of the store; made when it is missing. Needed without a model.
        model: Makes one torch module; without it the dense network of the spec is
            trained. What follows needs one.
        data: In the place of the spec's: `(x_train, y_train, x_test, y_test)`, two data
            sets or loaders of torch, or a function that gives them.
        loss: A function of (outputs, targets): one number, or one an example.
        optimizer: Makes an optimizer of torch of one model.
        losses: Test losses to be reached; 0.5, 0.25 and 0.1 of that of a guess unless
            given; with a loss of one's own, of the median at the start.
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
            model,
            initializations,
            spec,
            data=data,
            loss=loss,
            optimizer=optimizer,
            losses=losses,
            lrs=lrs,
            shape=shape,
            store=store,
        )
    own = [data, loss, optimizer, *filter(callable, initializations)]
    if any(part is not None for part in own):
        raise SpecError(
            "data, loss, optimizer and initialization of your own need a model too: "
            "give model=, a function that makes a torch module (--model net.py:name)"
        )
    if store is None:
        raise SpecError("give a store for the runs, or a model of your own")
    _check(spec, losses, lrs)
    rules = name_rules(initializations)
    if not isinstance(store, Store):
        store = open_store(store, create=True)
    specs = candidate_specs(
        spec, [r for r in rules.values() if isinstance(r, RuleSpec)]
    )
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
    return make_comparison(candidates, losses, tried_lrs=lrs)


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
    data: Any = None,
    loss: Callable[[Any, Any], Any] | None = None,
    optimizer: Callable[[Any], Any] | None = None,
    losses: Sequence[float] = (),
    lrs: Sequence[float] = (),
    dataset: Dataset | None = None,
    shape: str = "auto",
    store: str | Path | Store | None = None,
    watch: Callable[[str, EpochMetrics], None] | None = None,
) -> Comparison:
    """As `compare`, for a user's model.

    Args:
        factory: Makes one model; called once a replica and initialization.
        initializations: As for `compare`.
        spec: Data, training, replicas and seed; its network does not count.
        data: See `compare`, as `loss` and `optimizer`.
        loss: In the place of the spec's.
        optimizer: Likewise.
        losses: Test losses to be reached.
        lrs: See `compare`.
        dataset: In the place of the one that the spec names.
        shape: How the model takes an example: `flat`, `image` or `auto`.
        store: Keeps the runs, so that a comparison that was stopped goes on.
        watch: Called with the name of the initialization at the end of each epoch.

    Raises:
        SpecError, HardwareError, DataError: Before any training.
    """
    _check(spec, losses, lrs)
    rules = name_rules(initializations)
    own = OwnParts(None if data is None else read_own_data(data), loss, optimizer)
    examples: Dataset | OwnData
    if own.data is not None:
        examples = own.data
        table = spec.data.model_copy(update={"name": own.data.name})
        spec = spec.model_copy(update={"data": table})
    else:
        examples = load_dataset(spec.data) if dataset is None else dataset
    one = spec.model_copy(update={"run": spec.run.model_copy(update={"replicas": 1})})
    for rule in rules.values():  # refused before the first of them is trained
        (module,), _ = build_models(
            factory, rule, one, examples, shape=shape, own_loss=loss is not None
        )
    parts = _say(factory, own)
    if own:
        lr, words = try_own(module, one, examples, own, shape)
        if optimizer is not None:
            parts["optimizer"] += f": {words}"
            spec = spec.with_settings({"training.lr": lr})
    if store is not None and not isinstance(store, Store):
        store = open_store(store, create=True)

    def train(
        rule: RuleSpec | Initialize, asked: RunSpec, name: str = ""
    ) -> xr.Dataset:
        def look(metrics: EpochMetrics) -> None:
            if watch is not None and name:
                watch(name, metrics)

        return train_models(
            factory,
            rule,
            asked,
            examples,
            shape=shape,
            own=own,
            store=store,
            watch=look,
        )

    candidates = []
    for name, rule in rules.items():
        chosen = spec
        if lrs:
            tried = [train(rule, pilot) for pilot in _pilots([spec], lrs)[0]]
            chosen = spec.with_settings({"training.lr": lrs[_best(tried)]})
        records = train(rule, chosen, name)
        key = "" if store is None else str(records.attrs["run_key"])
        candidates.append(Candidate(name, chosen, records, key, parts))
    if loss is not None:
        candidates = _with_start_loss(candidates)
    return make_comparison(candidates, losses, tried_lrs=lrs)


def _say(factory: Factory, own: OwnParts) -> dict[str, str]:
    """The user's parts by name."""
    functions = {"model": factory, "loss": own.loss, "optimizer": own.optimizer}
    named = {
        key: name_function(one) for key, one in functions.items() if one is not None
    }
    return named if own.data is None else {**named, "data": own.data.name}


def _with_start_loss(candidates: Sequence[Candidate]) -> list[Candidate]:
    """With what a loss of the user's own is at the start, in the place of a guess's."""
    starts = np.concatenate([one.curve("test_loss")[0] for one in candidates])
    finite = starts[np.isfinite(starts)]
    level = float(np.median(finite)) if len(finite) else math.nan
    return [
        replace(one, records=one.records.assign_attrs(loss_at_start=level))
        for one in candidates
    ]


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
