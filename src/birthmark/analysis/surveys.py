"""All runs of a store, read once: their families, and what was found in them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from birthmark.analysis.axes import Axis, Value, say_mark, unify_fields
from birthmark.analysis.columns import Column, read_columns, transitions_of
from birthmark.analysis.conditionals import Conditionals, pool_conditionals
from birthmark.analysis.grouping import Group, group_runs
from birthmark.analysis.regimes import classify_learners
from birthmark.analysis.studies import Run, Study, read_run, remember, split_group
from birthmark.analysis.thresholds import Thresholds
from birthmark.analysis.transitions import Transitions
from birthmark.errors import StoreError
from birthmark.shapes import Array

if TYPE_CHECKING:
    from birthmark.store import Store


class NothingFoundError(Exception):
    """What a figure needs is in no run of a family; the message says what."""


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
class Line:
    """The runs at one value of a series, along the axis of their family."""

    value: Value  # of the series; 'none' without one
    study: Study
    columns: tuple[Column, ...]


@dataclass(frozen=True, eq=False)
class Family:
    """Runs that may be compared: they differ along an axis, and in a series if any."""

    name: str  # for file names: `digits`, or `digits-learning-rate-0.3`
    said: str  # what sets it apart from the others, in words; '' for one alone
    store: Store | None
    thresholds: Thresholds
    axis: Axis
    series: Axis | None
    lines: tuple[Line, ...]  # in the order of the series
    # the same with another mark, or without, by the value of the series
    twins: tuple[tuple[Value, Study], ...]
    _found: dict[Any, Any] = field(default_factory=dict, repr=False)

    remember = remember

    @property
    def study(self) -> Study:
        """The runs that go over the most values of the axis."""
        return max(self.lines, key=lambda line: len(line.columns)).study

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of `study`."""
        return max((line.columns for line in self.lines), key=len)

    @property
    def all_columns(self) -> list[Column]:
        """The columns of every line."""
        return [column for line in self.lines for column in line.columns]

    @property
    def layer(self) -> str:
        """The layer looked at, or its place where runs call it otherwise."""
        layers = {run.layer for run in self.runs}
        return layers.pop() if len(layers) == 1 else "the last hidden layer"

    @cached_property
    def is_judged(self) -> bool:
        """Whether its networks have a train loss, and so are learners of some kind."""
        return all(
            run.given is not None and "train_loss" in run.arrays for run in self.runs
        )

    @property
    def losses(self) -> tuple[float, float, float]:
        """The train losses of a strong network, of one that has learned, of chance."""
        chance = self.columns[0].transitions[0].chance_loss
        return *self.thresholds.losses(chance), chance

    @property
    def num_twins(self) -> int:
        """Networks that have another mark or none, and are compared apart."""
        return sum(run.num_replicas for _, study in self.twins for run in study)

    @property
    def runs(self) -> tuple[Run, ...]:
        """All of them, line by line, twins last."""
        lines = [line.study for line in self.lines]
        twins = [study for _, study in self.twins]
        return tuple(run for study in (*lines, *twins) for run in study)

    @property
    def is_along(self) -> bool:
        """Whether there is more than one value of the axis."""
        return len(self.axis.values) > 1

    def say(self, run: Run) -> str:
        """Where a run stands: `width 32`; `width 32, learning rate 0.1`."""
        axis, line = self._values[run.run_key]
        if self.axis.field == "kind":  # a loop of a user's own that gave no fields
            return str(run.fields.get("name") or run.run_key)
        words = [self.axis.say(axis)]
        words += [self.series.say(line)] if self.series else []
        return ", ".join(words)

    def stem(self, run: Run) -> str:
        """The same for the name of a file: `32`; `32-0.1`."""
        axis, line = self._values[run.run_key]
        words = [self.axis.text(axis)]
        words += [self.series.text(line)] if self.series else []
        return _clean("-".join(words))

    @cached_property
    def _values(self) -> dict[str, tuple[Value, Value]]:
        pairs = [(line.value, line.study) for line in self.lines] + list(self.twins)
        return {
            run.run_key: (value, line)
            for line, study in pairs
            for value, run in zip(study.values, study.runs, strict=True)
        }

    @cached_property
    def replicas(self) -> list[Replica]:
        """Every replica of every run.

        Raises:
            StoreError: A fact about the data is missing in the records.
        """
        return [one for run in self.runs for one in _replicas(run, self.thresholds)]

    @cached_property
    def pool(self) -> Pool:
        """The network that trains best, pooled over its replicas that do.

        Of equals the one without a mark, since the weights under a mark start from one
        value, and would draw a stripe; then the widest.

        Raises:
            NothingFoundError: No run has distributions.
        """
        by_run: dict[str, list[Replica]] = {}
        for replica in self.replicas:
            if "distribution_step" in replica.run.arrays.sizes:
                by_run.setdefault(replica.run.run_key, []).append(replica)
        if not by_run:
            raise NothingFoundError(
                "no run has distributions yet: they come with its first flush"
            )
        chosen = max(by_run.values(), key=_worth_pooling)
        trained = _select_trained(chosen)
        places = np.array([one.place for one in trained])
        learners = tuple(sorted({one.learner for one in trained}))
        run = chosen[0].run
        return Pool(run, places, learners, self._pool_conditionals(run, places))

    def _pool_conditionals(self, run: Run, places: Array) -> Conditionals:
        records = self._stored.arrays(run.run_key).isel(replica=places)
        epoch = int(records["distribution_epoch"][-1])
        kept = self.weights_at(run, [0, epoch], run.layer)
        pair = (kept[0][places], kept[epoch][places]) if len(kept) == 2 else None
        return pool_conditionals(records, epoch, run.layer, weights=pair)

    @property
    def _stored(self) -> Store:
        if self.store is None:
            raise NothingFoundError("its runs were read without their store")
        return self.store

    def kept_epochs(self, run: Run) -> list[int]:
        """Epochs at which weights of a run were kept, and of which there are records.

        A run that was killed may have kept weights of later ones.
        """
        last = int(run.epochs[-1])
        kept = run.remember("kept", lambda: self._stored.weights_epochs(run.run_key))
        return [epoch for epoch in kept if epoch <= last]

    def weights_at(
        self, run: Run, epochs: Sequence[int], layer: str
    ) -> dict[int, Array]:
        """The weights of a layer, [R, I, O], at those of the epochs that were kept."""
        found = {}
        for epoch in sorted(set(self.kept_epochs(run)).intersection(epochs)):
            weights = self._stored.weights(run.run_key, epoch)
            if layer in set(weights):
                found[epoch] = np.asarray(weights[layer].w)
        return found


@dataclass(frozen=True, eq=False)
class Survey:
    """What a store holds; all that is found in it is found once.

    Figures, report and live page take what they show from one survey.
    """

    store: Store | None  # None: the runs were read without one, and have no weights
    runs: tuple[Run, ...]  # those with records
    thresholds: Thresholds = field(default_factory=Thresholds)
    axis: str | None = None  # as asked for; None: whatever the runs were varied along
    series: str | None = None  # '': none
    damaged: tuple[tuple[str, str], ...] = ()  # run key and why it cannot be read
    unrecorded: tuple[str, ...] = ()  # keys of runs of which nothing is measured yet
    _found: dict[Any, Any] = field(default_factory=dict, repr=False)

    remember = remember

    @cached_property
    def families(self) -> tuple[Family, ...]:
        """The families of the runs, that of the most runs first.

        What is the same but for the mark is one family.

        Raises:
            SpecError: The axis or the series asked for is no field of the runs.
        """
        fields = unify_fields([run.fields for run in self.runs])
        networks = _tell_networks(self.runs)
        groups = group_runs(fields, self.axis, self.series, networks=networks)
        families = [self._family(group) for group in groups]
        names = [family.name for family in families]
        return tuple(
            family
            if names.count(family.name) == 1
            else replace(family, name=f"{family.name}-{family.runs[0].run_key[:6]}")
            for family in families
        )

    def _family(self, group: Group) -> Family:
        studies = split_group(group, self.runs)
        lines: dict[Value, Study] = {}
        for value, study in sorted(studies, key=lambda pair: _worth_showing(pair[1])):
            lines.setdefault(value, study)
        order = group.series.values if group.series else tuple(lines)
        shown = tuple(
            Line(
                value, lines[value], tuple(read_columns(lines[value], self.thresholds))
            )
            for value in order
        )
        return Family(
            name=_stem(self.runs[group.members[0].place], group.said),
            said=group.said,
            store=self.store,
            thresholds=self.thresholds,
            axis=group.axis,
            series=group.series,
            lines=shown,
            twins=tuple(pair for pair in studies if pair[1] not in lines.values()),
        )


def read_survey(
    store: Store,
    thresholds: Thresholds | None = None,
    *,
    axis: str | None = None,
    series: str | None = None,
) -> Survey:
    """Read a store once, for all that is shown of it.

    Arrays with a bin axis are left out of the records: they are nearly all of the
    memory, and are read again for the one run whose distributions are shown. A run that
    cannot be read is named, and does not keep the others from being shown.

    Args:
        store: Any.
        thresholds: Where the lines between regimes, learners and jumps are drawn.
        axis: The field that runs are looked at along, as `lr` or `training.lr`; unless
            given, that in which they differ.
        series: A second field; '' for none.
    """
    runs, damaged, unrecorded = [], [], []
    for key in (row["run_key"] for row in store.rows()):
        try:
            run = read_run(store, key)
        except StoreError as error:
            damaged.append((str(key), str(error)))
            continue
        sizes = run.arrays.sizes
        if sizes.get("step") and sizes.get("layer"):  # losses alone say nothing here
            runs.append(run)
        else:
            unrecorded.append(str(key))
    lines, missing = thresholds or Thresholds(), (tuple(damaged), tuple(unrecorded))
    return Survey(store, tuple(runs), lines, axis, series, *missing)


def survey_study(study: Study, thresholds: Thresholds | None = None) -> Survey:
    """A survey of runs that were read without their store, along the axis they have."""
    return Survey(None, study.runs, thresholds or Thresholds())


def as_survey(source: Store | Survey, thresholds: Thresholds | None = None) -> Survey:
    """A survey as it is; a store is read."""
    return source if isinstance(source, Survey) else read_survey(source, thresholds)


def _tell_networks(runs: Sequence[Run]) -> list[int]:
    """A number a run: of users' own loops, one for all that have layers in common."""
    networks: list[tuple[set[str], list[int]]] = []  # layers, and places of runs
    for place, run in enumerate(runs):
        layers = {""} if run.given else set(map(str, run.arrays["layer"].to_numpy()))
        alike = [one for one in networks if layers & one[0]]
        networks = [one for one in networks if one not in alike]
        places = sum((one[1] for one in alike), [place])
        networks.append((layers.union(*(one[0] for one in alike)), places))
    number = {place: i for i, (_, places) in enumerate(networks) for place in places}
    return [number[place] for place in range(len(runs))]


def _replicas(run: Run, thresholds: Thresholds) -> list[Replica]:
    found = transitions_of(run, thresholds)
    learners = classify_learners(found, thresholds)
    share = float(np.mean(learners == "unstable"))
    return [
        Replica(run, place, str(learner), found, share)
        for place, learner in enumerate(learners)
    ]


def _worth_showing(study: Study) -> tuple[int, bool]:
    """Most values of the axis first; of equals that without a mark."""
    return -len(study.axis.values), say_mark(study.runs[0].fields) != "no mark"


def _select_trained(replicas: list[Replica]) -> list[Replica]:
    """The strong ones; without any, those that are not unstable; or else all."""
    strong = [one for one in replicas if one.learner == "strong"]
    return strong or [one for one in replicas if one.learner != "unstable"] or replicas


def _worth_pooling(replicas: list[Replica]) -> tuple[float, ...]:
    run, trained = replicas[0].run, _select_trained(replicas)
    rank = ("unstable", "weak", "undecided", "strong").index(trained[0].learner)
    unmarked = run.spec.mark is None
    return (rank, len(trained) > 1, unmarked, run.width, len(trained))


def _stem(run: Run, said: str) -> str:
    """A file name from the data set and what sets the family apart."""
    name = str(run.fields.get("data.name", run.fields.get("name", "runs")))
    words = [word for word in said.split(", ") if word and word != name]
    return _clean("-".join([name, *words]))


def _clean(text: str) -> str:
    """As a part of a file's name, of which the system takes a few only.

    What is long, or has nothing that every system takes, is told apart by a checksum.
    """
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")
    if plain and len(plain) <= _LONGEST:
        return plain
    return f"{plain[: _LONGEST - 9]}-{zlib.crc32(text.encode()):08x}".strip("-")


_LONGEST = 70  # characters; a file has two such parts at most, of 255 in all
