"""Which runs of a sweep are trained as one stack: decided by trial, and remembered."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch

from birthmark.data import describe_dataset, load_dataset
from birthmark.errors import BirthmarkError, StoreError
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.store import Store
from birthmark.training import (
    CompiledPath,
    MixedTraining,
    Training,
    check_mixture,
    choose_num_parts,
    find_device,
    program_of,
)

WORTH_IT = 1.1  # times as quick must the stack be to be taken
LEAST_STEPS = 5000  # of a run: below them the trial would cost more than it brings
_MOST_PADDED = 3.0  # times the weights that count may the stack have
_ROUNDS = 5
_ROUND_SECONDS = 0.05
_ROUND_STEPS = 64  # at most


@dataclass(frozen=True)
class Mixture:
    """Runs trained as one stack, or one run alone.

    Attributes:
        specs: In the order of the rows.
        going: Keys of those that are to be carried out; the others only fill their
            rows, so that the bits of these stay what they were.
        notes: What the manifests say of it.
    """

    specs: tuple[RunSpec, ...]
    going: tuple[str, ...]
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> RunSpec:
        """A run as large as the stack."""
        return self.specs[0] if len(self.specs) == 1 else _pad(self.specs)

    @classmethod
    def alone(cls, spec: RunSpec, **trial: Any) -> Mixture:
        """A run by itself."""
        return cls((spec,), (spec.run_key,), {"mixed": False, **trial})


def find_mixtures(specs: Sequence[RunSpec], store: Store) -> list[Mixture]:
    """How to carry out runs that are not done: each is in exactly one mixture.

    Runs that have begun go on as they began. Of the others, those that can be one stack
    are, if a few steps of both ways on copies show that it is quicker on this machine.
    """
    found: list[Mixture] = []
    fresh: dict[str, list[RunSpec]] = {}
    for spec in specs:
        if any(spec.run_key in mixture.going for mixture in found):
            continue
        manifest = _manifest(store, spec)
        if manifest:
            found.append(_go_on(spec, manifest, specs, store))
        else:
            fresh.setdefault(str(program_of(spec)), []).append(spec)
    for group in fresh.values():
        found += _divide(group)
    return found


def _manifest(store: Store, spec: RunSpec) -> dict[str, Any]:
    try:
        return store.manifest(spec.run_key)
    except StoreError:  # it has not begun, or what is wrong is said when it starts
        return {}


def _go_on(
    spec: RunSpec, manifest: dict[str, Any], specs: Sequence[RunSpec], store: Store
) -> Mixture:
    notes = {k: v for k, v in manifest.items() if k.startswith("mixed")}
    keys = notes.get("mixed_with")
    if not notes.get("mixed") or not keys:
        return Mixture.alone(spec, **{**notes, "mixed": False})
    asked = {one.run_key: one for one in specs}
    try:
        rows = tuple(asked.get(key) or store.spec(key) for key in keys)
    except StoreError:  # one that filled rows was deleted: the rest goes on alone
        return Mixture.alone(spec)
    going = []
    for key in keys:
        found = _manifest(store, asked[key]) if key in asked else {"mixed": False}
        # none yet: the kill came before; another one: it has gone on alone since
        if not found or (found.get("mixed") and found.get("mixed_with") == keys):
            going.append(key)
    return Mixture(rows, tuple(going), notes)


def _divide(specs: list[RunSpec]) -> list[Mixture]:
    """The narrowest as one stack, as many as are quicker so; the rest alone."""
    specs = sorted(specs, key=lambda spec: sum(spec.network.widths))
    trials: dict[int, dict[str, float]] = {}
    num_together = 0
    if len(specs) > 1 and _may_gain(specs):
        trials = _try(specs, load_dataset(specs[0].data))
        num_together = max((n for n, t in trials.items() if _is_quicker(t)), default=0)
    found = []
    if num_together:
        rows = tuple(specs[:num_together])
        keys = [spec.run_key for spec in rows]
        notes = {"mixed_with": keys, "mixed_trial": trials[num_together]}
        found.append(Mixture(rows, tuple(keys), {"mixed": True, **notes}))
    for index, spec in enumerate(specs[num_together:], start=num_together):
        # the trial that left it out
        trial = trials.get(max(index + 1, 2))
        notes = {"mixed_trial": trial} if trial else {}
        found.append(Mixture.alone(spec, **notes))
    return found


def _may_gain(specs: Sequence[RunSpec]) -> bool:
    """Whether one stack of these runs may be quicker, so that trying is worth it.

    The compiled path has no overhead to share: it gains only where a run alone has
    fewer replicas than there are cores.
    """
    first = specs[0]
    if not first.network.is_plain:
        return False
    num_train = describe_dataset(first.data).num_train
    if first.training.epochs * num_train / first.training.batch_size < LEAST_STEPS:
        return False
    compiled = CompiledPath.fits(first, find_device(first.run.device))
    fewest = min(spec.run.replicas for spec in specs)
    return not compiled or fewest < torch.get_num_threads()


def _can_be_one(specs: Sequence[RunSpec]) -> bool:
    """Whether they can be one stack that fits in memory and is not mostly padding."""
    widest = _pad(specs)
    own = sum(spec.run.replicas * _count_weights(spec) for spec in specs)
    if widest.run.replicas * _count_weights(widest) > _MOST_PADDED * own:
        return False
    try:
        check_mixture(specs)
        return choose_num_parts(widest) == 1
    except BirthmarkError:
        return False


def _pad(specs: Sequence[RunSpec]) -> RunSpec:
    """A run as large as the stack."""
    widths = zip(*(spec.network.widths for spec in specs), strict=True)
    return specs[0].with_settings(
        {
            "network.widths": [max(sizes) for sizes in widths],
            "run.replicas": sum(spec.run.replicas for spec in specs),
        }
    )


def _count_weights(spec: RunSpec) -> int:
    facts = describe_dataset(spec.data)
    sizes = [facts.num_inputs, *spec.network.widths, facts.num_classes]
    return sum(fan_in * fan_out for fan_in, fan_out in pairwise(sizes))


def _try(specs: Sequence[RunSpec], dataset: Dataset) -> dict[int, dict[str, float]]:
    """Milliseconds a step of the first n runs, one by one and as a stack, by n.

    The widest is left out until the stack is quicker.
    """
    separate: list[Training] = []
    trials = {}
    for number in range(len(specs), 1, -1):
        together = specs[:number]
        if not _can_be_one(together):
            continue
        separate = separate or [Training(spec, dataset) for spec in together]
        stack = MixedTraining(together, dataset)
        *alone, mixed = _time_steps([*separate[:number], stack])
        trials[number] = {
            "num_runs": number,
            "separate_ms": round(1e3 * sum(alone), 4),
            "mixed_ms": round(1e3 * mixed, 4),
        }
        if _is_quicker(trials[number]):
            break
    return trials


def _is_quicker(trial: dict[str, float]) -> bool:
    return trial["mixed_ms"] * WORTH_IT < trial["separate_ms"]


def _time_steps(trainings: Sequence[Training | MixedTraining]) -> list[float]:
    """Seconds a step of each, the ends of epochs included: medians of some rounds.

    All take part in each round, so that what else the machine does hits all alike.
    """
    counts = []
    for training in trainings:
        _time_round(training, 2)
        possible = round(_ROUND_SECONDS / _time_round(training, 2))
        counts.append(min(max(possible, 1), _ROUND_STEPS))
        _time_round(training, counts[-1])
    rounds = [
        [_time_round(*one) for one in zip(trainings, counts, strict=True)]
        for _ in range(_ROUNDS)
    ]
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def _time_round(training: Training | MixedTraining, num_steps: int) -> float:
    before, started = training.step, time.perf_counter()
    training.advance(num_steps)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / (training.step - before)
