"""What moves on at a time: one run, or several as one stack, each stored by itself.

A kill may come between the checkpoints of two runs of a stack, or when only some are
done. Then the stack goes on from the earliest, with the same rows: those that are
ahead, done or not asked for are computed and do not count, so that no other row changes
a bit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from birthmark.shapes import Array, Dataset, EpochMetrics
from birthmark.store import RunFolder, Store
from birthmark.sweeps.mixtures import Mixture
from birthmark.sweeps.observer import Observer
from birthmark.sweeps.pace import Pace, Progress
from birthmark.sweeps.provenance import describe_origin
from birthmark.training import MixedTraining, State, Training

_Checkpoint = tuple[dict[str, Array], dict[str, Any]]  # arrays, where things stand


class Stack:
    """The runs of a mixture, from wherever they stand.

    What it is asked for belongs inside `entered`.

    Attributes:
        run_key: Of its first run.
        lane: Where its work is queued.
        pace: How quickly it goes on.
        saved: When, by the monotonic clock, the last checkpoint was written.
    """

    def __init__(
        self, mixture: Mixture, dataset: Dataset, store: Store, notes: Mapping[str, Any]
    ) -> None:
        """Draw the initial configurations, or load the checkpoints.

        Args:
            mixture: What to carry out.
            dataset: The data of all its runs.
            store: Where to.
            notes: What the manifests are to say besides those of the mixture.
        """
        self._started = self.saved = time.monotonic()
        self._last: EpochMetrics | None = None
        self._is_mixed = len(mixture.specs) > 1
        self.run_key = mixture.going[0]
        folders = {
            number: store.start_run(spec)
            for number, spec in enumerate(mixture.specs)
            if spec.run_key in mixture.going
        }
        checkpoints = {n: folder.load_checkpoint() for n, folder in folders.items()}
        facts = next((found[1] for found in checkpoints.values() if found), {})
        self._num_threads = facts.get("threads", torch.get_num_threads())
        with _on_threads(self._num_threads):
            self._training = _start(mixture, dataset, facts)
            self.lane = self._training.lane
            with self.lane.apart():
                self._runs = {
                    number: _Run(
                        self._training.members[number],
                        dataset,
                        folders[number],
                        checkpoint,
                        {**mixture.notes, **notes},
                    )
                    for number, checkpoint in checkpoints.items()
                }
                self._load(checkpoints)
        first, *_ = self._runs.values()
        num_replicas = sum(len(run.training.replicas) for run in self._runs.values())
        self.pace = Pace(first.training, num_replicas)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """On its lane, with as many threads as its bits may depend on."""
        with _on_threads(self._num_threads), self.lane.apart():
            yield

    @property
    def is_done(self) -> bool:
        """Whether all steps are made."""
        first, *_ = self._runs.values()
        return first.training.epoch == first.training.spec.training.epochs

    def advance(self, max_steps: int) -> None:
        """Make up to so many steps, and record the epoch if it ends."""
        ended = self._training.advance(max_steps)
        for number, metrics in ended.items():
            self._runs[number].observer.look(metrics)
        first = next(iter(self._runs))
        self._last = ended.get(first, self._last)

    def save(self) -> None:
        """Write the checkpoints of those that count now."""
        self.saved = time.monotonic()
        for number in self._training.going:
            run = self._runs[number]
            mixed_until = run.training.step if self._is_mixed else run.mixed_until
            run.save(self.saved - self._started, mixed_until)

    def stop(self) -> None:
        """Leave on purpose, after `save`."""
        for run in self._runs.values():
            run.folder.stop()

    def close(self) -> None:
        """Let other writers have what is not done."""
        for run in self._runs.values():
            run.folder.close()

    def finish(self) -> None:
        """Declare all runs done."""
        for run in self._runs.values():
            run.finish(time.monotonic() - self._started)

    def progress(self) -> Progress:
        """That of the first run, with the examples of all."""
        return self.pace.progress(self._last)

    def _load(self, checkpoints: Mapping[int, _Checkpoint | None]) -> None:
        if not self._is_mixed and checkpoints[0] is None:
            return  # it stands where it starts
        states: list[State | None] = [None] * len(self._training.members)
        for number, checkpoint in checkpoints.items():
            member = self._training.members[number]
            states[number] = checkpoint or member.state_dict()
        self._training.load_state_dicts(states)


class _Run:
    """A run that counts: its training, and where it is stored."""

    def __init__(
        self,
        training: Training,
        dataset: Dataset,
        folder: RunFolder,
        checkpoint: _Checkpoint | None,
        notes: Mapping[str, Any],
    ) -> None:
        self.training, self.folder = training, folder
        self.observer = Observer(training.spec, training, dataset, folder)
        facts = checkpoint[1] if checkpoint else {}
        self._seconds_before = float(facts.get("seconds", 0.0))
        self.mixed_until = int(facts.get("mixed_until_step", 0))
        self._manifest = {**describe_origin(training, dataset), **notes}
        if self.mixed_until and not self._manifest["mixed"]:
            self._manifest["mixed_until_step"] = self.mixed_until
        folder.save_manifest(self._manifest)
        if checkpoint is None:
            self.observer.look(training.metrics_at_start())
        else:
            self.observer.load_state_dict(checkpoint[0])

    def save(self, seconds: float, mixed_until: int) -> None:
        """Write all that is needed to go on, so many seconds after this start."""
        arrays, position = self.training.state_dict()
        facts = {
            **position,
            "seconds": self._seconds_before + seconds,
            "threads": torch.get_num_threads(),
            "path": self.training.path_name,
            "products": self.training.products,
            "num_parts": self.training.num_parts,
            "mixed_until_step": mixed_until,
        }
        self.folder.save_checkpoint({**arrays, **self.observer.state_dict()}, facts)

    def finish(self, seconds: float) -> None:
        """Declare it done, so many seconds after this start."""
        seconds = round(self._seconds_before + seconds, 3)
        self.folder.finish({**self._manifest, "wall_time_s": seconds})


class _Alone:
    """One training, with the doors of a stack of several."""

    going = (0,)

    def __init__(self, training: Training) -> None:
        self.members, self.lane = [training], training.lane

    def advance(self, max_steps: int) -> dict[int, EpochMetrics]:
        metrics = self.members[0].advance(max_steps)
        return {} if metrics is None else {0: metrics}

    def load_state_dicts(self, states: list[State | None]) -> None:
        (state,) = states
        assert state is not None
        self.members[0].load_state_dict(*state)


def _start(
    mixture: Mixture, dataset: Dataset, facts: Mapping[str, Any]
) -> MixedTraining | _Alone:
    """At the initial configurations; as the checkpoint says, if there is one."""
    # other ways to make steps and to split sums would change the last bits
    how = {key: facts[key] for key in ("path", "products") if facts}
    if len(mixture.specs) > 1:
        return MixedTraining(mixture.specs, dataset, **how)
    num_parts = facts.get("num_parts", 0)
    return _Alone(Training(mixture.specs[0], dataset, num_parts=num_parts, **how))


@contextmanager
def _on_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
