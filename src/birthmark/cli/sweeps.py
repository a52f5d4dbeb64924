"""The command `sweep`: plan, carry out, watch, sum up."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from birthmark.cli.runs import JsonOption, StoreOption
from birthmark.errors import BirthmarkError, StoreError

if TYPE_CHECKING:
    from birthmark.spec import RunSpec
    from birthmark.store import Store
    from birthmark.sweeps import Executor, Outcome, Plan

LOG = "sweep-log.jsonl"  # in the store: one JSON object a line


def sweep(
    grid: Annotated[Path, typer.Argument(help="A grid in TOML.")],
    store: StoreOption = Path("runs"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    workers: Annotated[
        int, typer.Option("--workers", "-j", min=1, help="Processes on this machine.")
    ] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of each run; the cores over the workers.")
    ] = None,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Only the I-th of N parts (job arrays).")
    ] = "1/1",
    executor: Annotated[
        str, typer.Option(help="local, or ray (see docs/how-to/cluster.md).")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster that is there.")
    ] = None,
    copy_to: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where finished runs are copied: s3://..."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Carry out all runs of a grid; what is done already is skipped.

    The status is 0 when all is done, 1 when runs have failed, 130 when it was stopped.

    Example: `birthmark sweep grid.toml --store runs --workers 4`
    """
    from birthmark.data import fetch_dataset
    from birthmark.store import find_copies, open_store
    from birthmark.sweeps import Grid, make_plan, parse_shard

    part = parse_shard(shard)
    if copy_to:
        find_copies(copy_to)  # refused before any work
    chosen, count = _choose(executor, address, workers, threads)
    specs = Grid.from_toml(grid)
    # what is not here is refused, or comes with a bar, before the store is touched
    for name in sorted({spec.data.name for spec in specs}):
        fetch_dataset(name, progress=True)
    exists = store.is_dir() and any(store.iterdir())
    opened = open_store(store) if dry_run and exists else None
    if not dry_run:
        opened = open_store(store, create=True)
    timed = dry_run or workers > 1
    plan = make_plan(specs, opened, shard=part, threads=count, timed=timed)
    if dry_run:
        _print_plan(plan, chosen.workers, as_json=as_json)
        return
    try:
        outcomes = _carry_out(plan, chosen, store, as_json=as_json, copy_to=copy_to)
    except KeyboardInterrupt:  # the second, or between two runs
        raise _stopped(is_saved=False) from None
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if as_json:
        print(json.dumps([vars(outcome) for outcome in outcomes], indent=2))
    elif failed:
        _sum_up(failed, plan, store, are_copied=copy_to is not None)
    if _is_cut_short(plan, outcomes):
        stopped = [outcome for outcome in outcomes if outcome.status == "stopped"]
        raise _stopped(is_saved=not any(outcome.message for outcome in stopped))
    if failed:
        raise typer.Exit(1)


def _stopped(*, is_saved: bool) -> typer.Exit:
    how = "Stopped and saved" if is_saved else "Stopped; what was saved before is kept"
    command = shlex.join(["birthmark", *sys.argv[1:]])
    print(f"\n{how}. To go on: {command}", file=sys.stderr)
    return typer.Exit(130)


def carry_out_specs(
    specs: Sequence[RunSpec], store: Path, workers: int
) -> list[Outcome]:
    """Carry out what is not there yet; those that failed."""
    from birthmark.store import open_store
    from birthmark.sweeps import make_plan

    chosen, threads = _choose("local", None, workers, None)
    plan = make_plan(specs, open_store(store), threads=threads)
    outcomes = _carry_out(plan, chosen, store, as_json=False)
    if _is_cut_short(plan, outcomes):
        raise typer.Exit(130)
    return [outcome for outcome in outcomes if outcome.status == "failed"]


def _is_cut_short(plan: Plan, outcomes: Sequence[Outcome]) -> bool:
    """Whether runs were stopped, or not begun since the sweep was."""
    ended = [outcome for outcome in outcomes if outcome.status != "stopped"]
    return len(ended) < len(plan.done) + len(plan.tasks)


def _choose(
    name: str, address: str | None, workers: int, threads: int | None
) -> tuple[Executor, int | None]:
    import os

    from birthmark.errors import SpecError, unknown_name
    from birthmark.sweeps import Here, OnRay, Processes

    if address and name != "ray":
        raise SpecError("--address is that of a Ray cluster: add --executor ray")

    if name == "ray":
        return OnRay(address, cpus=threads or 1), threads or 1
    if name != "local":
        raise unknown_name("executor", name, ["local", "ray"])
    if workers == 1:
        return Here(), threads
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    each = max(1, (cores or os.cpu_count() or 1) // workers)
    return Processes(workers), threads or each


def _carry_out(
    plan: Plan,
    executor: Executor,
    store: Path,
    *,
    as_json: bool,
    copy_to: str | None = None,
) -> list[Outcome]:
    from birthmark.cli.progress import SweepDisplay, last_losses
    from birthmark.store import DamageError, open_store
    from birthmark.sweeps import Outcome

    opened = open_store(store)
    outcomes = [Outcome(spec.run_key, "done") for spec in plan.done]
    if copy_to:  # a place that takes no copy is refused before any work
        outcomes = [_copied(opened, one, copy_to, DamageError) for one in outcomes]
    if plan.tasks:
        _log(store, {"begun": len(plan.tasks), "done": len(plan.done)})
    with SweepDisplay(plan, executor.workers, quiet=as_json) as display:
        for outcome in executor.carry_out(plan.tasks, store, display.show):
            losses = ""
            if outcome.status == "done":  # whoever harms a run stops no other
                try:
                    losses = last_losses(opened.records(outcome.key))
                except StoreError as error:
                    outcome = replace(outcome, status="failed", message=str(error))
            if copy_to and outcome.status == "done":
                outcome = _copied(opened, outcome, copy_to)
            outcomes.append(outcome)
            with contextlib.suppress(StoreError):  # the runs are what counts
                _log(store, {"run": plan.words[outcome.key], **vars(outcome)})
            display.finish(outcome, losses)
    return outcomes


def _copied(
    store: Store,
    outcome: Outcome,
    url: str,
    failure: type[BirthmarkError] = BirthmarkError,
) -> Outcome:
    """What became of a run that is copied; a failure of this kind is its own."""
    from birthmark.store import copy_run

    try:
        copy_run(store, outcome.key, url)
    except failure as error:
        return replace(outcome, status="failed", message=str(error))
    return outcome


def _log(store: Path, what: dict[str, Any]) -> None:
    """Add a line to the log.

    Raises:
        StoreError: It cannot be written.
    """
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        with (store / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": now, **what}) + "\n")
    except OSError as error:
        raise StoreError(f"cannot write {store / LOG}: {error.strerror}") from error


def _sum_up(
    failed: list[Outcome], plan: Plan, store: Path, *, are_copied: bool
) -> None:
    from birthmark.store import open_store

    opened = open_store(store)
    commands = {task.key: task.command(store) for task in plan.tasks}
    whole = len(plan.done) + len(plan.tasks)
    print(f"\n{len(failed)} of {whole} runs failed:", file=sys.stderr)
    for outcome in failed:
        print(f"  {outcome.key}: {outcome.message}", file=sys.stderr)
        again = shlex.join(["birthmark", *sys.argv[1:]])
        if opened.is_done(outcome.key):
            if are_copied:
                print(f"    trained and stored; to copy it: {again}", file=sys.stderr)
            continue
        try:
            opened.spec(outcome.key)
        except StoreError:  # it has nothing there that could be carried out
            print(f"    not begun; to go on: {again}", file=sys.stderr)
        else:
            print(f"    alone: {commands[outcome.key]}", file=sys.stderr)


def _print_plan(plan: Plan, workers: int, *, as_json: bool) -> None:
    from birthmark.cli.progress import duration
    from birthmark.cli.tables import print_rows

    seconds = plan.time(workers)
    if as_json:
        runs = [
            {"run_key": task.key, "seconds": plan.seconds[task.key], **task.how}
            for task in plan.tasks
        ]
        done = [spec.run_key for spec in plan.done]
        print(json.dumps({"done": done, "runs": runs, "seconds": seconds}, indent=2))
        return
    print(f"{len(plan.done)} runs are there already, {len(plan.tasks)} are to be done")
    if not plan.tasks:
        return
    print_rows(
        ["run", "what", "epochs", "path", "about"],
        [
            [
                task.key,
                task.words,
                str(task.spec.training.epochs),
                str(task.how.get("path", "tried out")),
                duration(plan.seconds[task.key]),
            ]
            for task in plan.tasks
        ],
    )
    beside = f", {workers} at a time" if workers > 1 else ""
    print(f"About {duration(seconds)} on this machine{beside}.")
    print(f"The largest needs {plan.memory()}.")
