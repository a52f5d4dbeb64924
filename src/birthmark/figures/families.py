"""Runs whose figures belong together, and which of them to show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from birthmark.analysis import (
    Column,
    Conditionals,
    Run,
    Study,
    Thresholds,
    Transitions,
    pool_conditionals,
    protocol_names,
    read_columns,
    split_by_protocol,
)
from birthmark.shapes import Array
from birthmark.store import Store

WIDTHS_NEEDED = "it needs two widths that are the same in all else, mark included"
LEAST_EPOCHS = 2  # that a run must have finished


class NothingToDrawError(Exception):
    """A figure needs what no run of a family has; the message says what."""


@dataclass(frozen=True)
class Replica:
    """One network of a run, with what became of it."""

    run: Run
    place: int
    learner: str
    transitions: Transitions  # of all replicas of the run
    share_unstable: float  # of the replicas of the run

    def curve(self, name: str, layer: str | None = None) -> Array:
        """A variable along the epochs, [T]."""
        return np.asarray(self.run.values(name, layer)[:, self.place])

    def transition(self, name: str) -> float:
        """A field of `Transitions`, of this replica."""
        return float(getattr(self.transitions, name)[self.place])


@dataclass(frozen=True)
class Pool:
    """The joint distribution of some replicas of one run at its last epoch."""

    run: Run
    places: Array  # of the replicas pooled
    learners: tuple[str, ...]  # what these are
    conditionals: Conditionals


@dataclass(frozen=True)
class Family:
    """Runs of one protocol, with and without a mark."""

    name: str  # for file names: `digits`, or `digits-lr-0.3` where there are several
    store: Store
    thresholds: Thresholds
    studies: tuple[Study, ...]  # runs that may be compared; most widths first

    @property
    def widest(self) -> Study:
        """The runs that go over the most widths."""
        return self.studies[0]

    @cached_property
    def columns(self) -> list[list[Column]]:
        """The columns of each study."""
        return [read_columns(study, self.thresholds) for study in self.studies]

    @cached_property
    def replicas(self) -> list[Replica]:
        """Every replica of every run."""
        return [
            Replica(
                run,
                place,
                str(learner),
                transitions,
                float(np.mean(learners == "unstable")),
            )
            for columns in self.columns
            for column in columns
            for run, transitions, learners in _by_run(column)
            for place, learner in enumerate(learners)
        ]

    @cached_property
    def pool(self) -> Pool:
        """The widest network that trains, pooled over its replicas that do.

        One without a mark where there is one: the weights under a mark start from one
        value, and would draw a stripe.

        Raises:
            NothingToDrawError: No run has distributions.
        """
        by_run: dict[str, list[Replica]] = {}
        for replica in self.replicas:
            if "distribution_step" in replica.run.records.sizes:
                by_run.setdefault(replica.run.run_key, []).append(replica)
        if not by_run:
            raise NothingToDrawError(
                "no run has distributions yet: they come with its first flush"
            )
        chosen = max(by_run.values(), key=_worth_pooling)
        places = np.array([one.place for one in _select_trained(chosen)])
        learners = tuple(sorted({one.learner for one in _select_trained(chosen)}))
        run = chosen[0].run
        return Pool(run, places, learners, self._pool_conditionals(run, places))

    def _pool_conditionals(self, run: Run, places: Array) -> Conditionals:
        records = self.store.records(run.run_key).isel(replica=places)
        epoch = int(records["distribution_epoch"][-1])
        kept = self.weights_at(run, [0, epoch], run.layer)
        pair = (kept[0][places], kept[epoch][places]) if len(kept) == 2 else None
        return pool_conditionals(records, epoch, run.layer, weights=pair)

    def weights_at(self, run: Run, epochs: list[int], layer: str) -> dict[int, Array]:
        """The weights of a layer at those of the epochs at which they were kept."""
        kept = set(self.store.weights_epochs(run.run_key))
        found = {
            epoch: self.store.weights(run.run_key, epoch)
            for epoch in sorted(kept.intersection(epochs))
        }
        return {
            epoch: np.asarray(weights[layer].w)
            for epoch, weights in found.items()
            if layer in set(weights)
        }


def read_families(store: Store, thresholds: Thresholds) -> list[Family]:
    """The families of a store, the one with the most runs first.

    Arrays with a bin axis are left out of the records: they are nearly all of the
    memory, and are read again for the one run whose distributions are drawn.
    """
    runs = {run.run_key: run for run in _read_runs(store)}
    # what is the same but for the mark is one family
    unmarked = Study(tuple(replace(run, spec=run.spec.twin) for run in runs.values()))
    groups = split_by_protocol(unmarked)
    families = []
    for group, apart in zip(groups, protocol_names(groups), strict=True):
        whole = Study(tuple(runs[run.run_key] for run in group))
        studies = sorted(
            split_by_protocol(whole),
            key=lambda one: (-len(one.widths), one.runs[0].spec.mark is not None),
        )
        name = _stem(group.runs[0].spec.data.name, apart)
        families.append(Family(name, store, thresholds, tuple(studies)))
    return families


def _read_runs(store: Store) -> Iterator[Run]:
    for key in store.runs()["run_key"]:
        records = store.records(key)
        binned = [dim for dim in ("bin", "current_bin") if dim in records.dims]
        light = records.drop_dims(binned)
        if light.sizes["step"] > LEAST_EPOCHS:
            yield Run(key, store.spec(key), light)


def _by_run(column: Column) -> Iterator[tuple[Run, Transitions, Array]]:
    start = 0
    for run, transitions in zip(column.runs, column.transitions, strict=True):
        end = start + len(transitions.min_train_loss)
        yield run, transitions, column.learners[start:end]
        start = end


def _select_trained(replicas: list[Replica]) -> list[Replica]:
    """The strong ones; without any, those that are not unstable; or else all."""
    strong = [one for one in replicas if one.learner == "strong"]
    return strong or [one for one in replicas if one.learner != "unstable"] or replicas


def _worth_pooling(replicas: list[Replica]) -> tuple[float, ...]:
    run, trained = replicas[0].run, _select_trained(replicas)
    rank = ("unstable", "weak", "undecided", "strong").index(trained[0].learner)
    unmarked = run.spec.mark is None
    return (rank, len(trained) > 1, unmarked, run.width, len(trained))


def _stem(dataset: str, apart: str) -> str:
    """A file name from the data set and what sets the protocol apart."""
    fields = [
        part for part in apart.split(", ") if part and not part.startswith("data.name=")
    ]
    words = [part.partition(".")[2] or part for part in fields]
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join([dataset, *words])).strip("-")
