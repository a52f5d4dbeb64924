"""Runs on one page: load, initialize, train, measure, store; or resume, or skip."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import xarray as xr

from birthmark.data import load_dataset
from birthmark.shapes import Dataset
from birthmark.spec import DataSpec, RunSpec
from birthmark.store import ClaimedError, Store, open_store
from birthmark.sweeps.interrupts import Interrupt, Stopped, deferred_interrupts
from birthmark.sweeps.stacks import Stack
from birthmark.sweeps.throughput import Progress, sum_up
from birthmark.training import TURN, check_memory, check_spec

LOOK_SECONDS = 0.2  # between two looks at progress and signals
CHECKPOINT_SECONDS = 60.0  # that a kill may cost at most
WAIT_SECONDS = 2.0  # between two looks at a run that another process writes

_log = logging.getLogger("birthmark")


@dataclass(frozen=True)
class RunResult:
    """A finished run in its store."""

    run_key: str
    store: Store
    was_done: bool  # nothing had to be trained: it was there already

    @cached_property
    def records(self) -> xr.Dataset:
        """All that was measured, with dims `step`, `replica`, `layer`, ..."""
        return self.store.records(self.run_key)


def run(
    spec: RunSpec,
    store: str | Path | Store,
    *,
    watch: Callable[[Progress], None] | None = None,
    how: Mapping[str, Any] | None = None,
) -> RunResult:
    """Carry out a run, go on with one that was stopped, or return one that is done.

    While another process carries it out, this waits for it, and goes on with it should
    that one end before the run is done.
    Ctrl-C takes effect between two steps: all is saved, and the same call goes on.

    Args:
        spec: What to run.
        store: Folder of the store; made when it is missing.
        watch: Called a few times a second.
        how: `path`, `products` and `threads` by which steps are made, as a plan fixes
            them; a run that has begun goes on as it began.

    Raises:
        SpecError, HardwareError, DataError, StoreError: Before any work is done.
        Stopped: It was stopped, and saved.
    """
    check_spec(spec)
    if not isinstance(store, Store):
        store = open_store(store, create=True)
    if store.is_done(spec.run_key):
        return RunResult(spec.run_key, store, was_done=True)
    check_memory(spec)
    trained = False
    for progress in carry_out([spec], store, how):
        trained = True
        if watch is not None:
            watch(progress)
    return RunResult(spec.run_key, store, was_done=not trained)


def carry_out(
    specs: Sequence[RunSpec], store: Store, how: Mapping[str, Any] | None = None
) -> Iterator[Progress]:
    """Train all to the end from wherever they stand; yields a few times a second.

    They take turns. On a GPU each queues its steps on a stream of its own, so that they
    train at the same time. What a run computes does not depend on the others. Those
    that other processes are carrying out are waited for.

    Args:
        specs: What to carry out.
        store: Where to.
        how: See `run`.
    """
    datasets = {spec.data: load_dataset(spec.data) for spec in specs}
    stacks: list[Stack] = []
    try:
        with deferred_interrupts() as interrupt:
            stacks = _wait_and_begin(specs, datasets, store, how or {}, interrupt)
            going = _finish(stacks)  # one may have been stopped after its last step
            most_steps = TURN if len(going) > 1 else None
            latest = {stack.run_key: stack.progress() for stack in going}
            while going:
                for stack in going:
                    with stack.entered():
                        steps = stack.throughput.steps(LOOK_SECONDS)
                        stack.advance(min(steps, most_steps or steps))
                        if time.monotonic() - stack.saved > CHECKPOINT_SECONDS:
                            stack.save()
                    latest[stack.run_key] = stack.progress()
                going = _finish(going)
                if not interrupt.came:
                    yield sum_up(list(latest.values()))
                if interrupt.came:  # perhaps while the caller looked at progress
                    _leave(going)
                    raise Stopped
    finally:
        for stack in stacks:
            stack.close()
            stack.device_stream.rejoin()


def _wait_and_begin(
    specs: Sequence[RunSpec],
    datasets: Mapping[DataSpec, Dataset],
    store: Store,
    how: Mapping[str, Any],
    interrupt: Interrupt,
) -> list[Stack]:
    """The stacks of those that are not done, once no other process is at any of them.

    Nothing is claimed meanwhile, so two that wait for each other's runs cannot block.
    """
    said = ""
    while True:
        try:
            left = [spec for spec in specs if not store.is_done(spec.run_key)]
            return _begin(left, datasets, store, how)
        except ClaimedError as error:
            if said != (said := str(error).partition(":")[0]):
                _log.warning("%s: waiting for it", said)
            time.sleep(WAIT_SECONDS)
            if interrupt.came:
                raise Stopped from None


def _begin(
    specs: Sequence[RunSpec],
    datasets: Mapping[DataSpec, Dataset],
    store: Store,
    how: Mapping[str, Any],
) -> list[Stack]:
    """The stacks where they stand; of data that several need there is one copy."""
    stacks: list[Stack] = []
    for spec in specs:
        others = [one.run_key for one in specs if one is not spec]
        notes = {"beside": others} if others else {}
        try:
            folder = store.start_run(spec)
            if not folder.is_done:  # by another process, just now
                stacks.append(Stack(spec, datasets[spec.data], folder, notes, how))
        except BaseException:
            for stack in stacks:
                stack.close()
            raise
    return stacks


def _finish(stacks: list[Stack]) -> list[Stack]:
    """Declare those done that are; returns the others."""
    for stack in stacks:
        if stack.is_done:
            with stack.entered():
                stack.finish()
    return [stack for stack in stacks if not stack.is_done]


def _leave(stacks: Sequence[Stack]) -> None:
    """Save all that has not been saved, and say that it was stopped on purpose."""
    for stack in stacks:
        with stack.entered():
            stack.save()
        stack.stop()
