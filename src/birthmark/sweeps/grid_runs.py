"""A sweep carried out in this process: run after run, or several at the same time."""

from collections.abc import Callable, Sequence
from pathlib import Path

from birthmark.spec import RunSpec
from birthmark.store import Store, open_store
from birthmark.sweeps.grid import Grid
from birthmark.sweeps.pipeline import RunResult, carry_out
from birthmark.sweeps.throughput import Progress
from birthmark.training import (
    check_memory,
    check_spec,
    count_together,
    estimate_memory,
)


def run_grid(
    grid: Grid,
    store: str | Path | Store,
    *,
    at_once: int | None = None,
    starting: Callable[[int, str], None] | None = None,
    watch: Callable[[Progress], None] | None = None,
    finished: Callable[[RunResult], None] | None = None,
) -> list[RunResult]:
    """Carry out all runs of a grid; those that are done already are skipped.

    On a GPU some train at the same time, as many as fit in its memory.

    Args:
        grid: The runs; all of them are checked before the first one starts.
        store: Folder of the store; made when it is missing.
        at_once: How many runs train at the same time at most. On a GPU up to 8 unless
            said, on a CPU 1. No bit depends on it.
        starting: Called once, if anything is to be done, with the number of runs and
            the memory that the largest of them needs, in words.
        watch: Called a few times a second, as for `run`.
        finished: Called with the result of each run.
    """
    for spec in grid:
        check_spec(spec)
    if not isinstance(store, Store):
        store = open_store(store, create=True)
    waiting = [spec for spec in grid if not store.is_done(spec.run_key)]
    for spec in waiting:
        check_memory(spec)
    if starting is not None and waiting:
        needs = [estimate_memory(spec) for spec in waiting]
        starting(len(needs), str(max(needs, key=lambda need: need.total)))
    groups = find_groups(waiting, at_once)
    group_of = {spec.run_key: group for group in groups for spec in group}
    results: dict[str, RunResult] = {}
    for spec in grid:
        if spec.run_key in results:
            continue
        keys = [spec.run_key]
        was_done = store.is_done(spec.run_key)  # by now, whoever did it
        if not was_done:
            group = [
                one for one in group_of[spec.run_key] if not store.is_done(one.run_key)
            ]
            keys = [one.run_key for one in group]
            for progress in carry_out(group, store):
                if watch is not None:
                    watch(progress)
        for key in keys:
            results[key] = RunResult(key, store, was_done)
            if finished is not None:
                finished(results[key])
    return [results[spec.run_key] for spec in grid]


def find_groups(
    specs: Sequence[RunSpec], at_once: int | None = None
) -> list[list[RunSpec]]:
    """Which runs train at the same time; in their order.

    Args:
        specs: What is to be carried out.
        at_once: At most so many; see `run_grid`.
    """
    groups = []
    rest = list(specs)
    while rest:
        count = count_together(rest, limit=at_once)
        groups.append(rest[:count])
        rest = rest[count:]
    return groups
