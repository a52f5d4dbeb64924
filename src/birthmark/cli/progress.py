"""Live progress on a terminal; one line a finished run elsewhere."""

from __future__ import annotations

import time
from typing import Self

import numpy as np
import xarray as xr
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from birthmark.shapes import Array
from birthmark.spec import RunSpec
from birthmark.sweeps import Outcome, Plan, RunResult, Standing
from birthmark.sweeps import Progress as RunProgress


class _Bar:
    """A bar with a state behind it, and lines above it that stay."""

    def __init__(self, *, width: int, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True)
        self._live = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=width),
            TextColumn("{task.fields[state]}"),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._live.stop()

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class Display(_Bar):
    """What the command line shows of the runs of a grid."""

    def __init__(self, num_runs: int, *, quiet: bool) -> None:
        super().__init__(width=20, quiet=quiet)
        self._num_runs, self._num_finished = num_runs, 0
        self._task: TaskID | None = None
        self._memory = ""  # what there is still to say of it
        self._started = time.monotonic()

    def announce(self, num_runs: int, memory: str) -> None:
        """Say, once the data are read, how much memory the runs to be done need.

        Data that cannot be read are refused in one line, which stands alone.
        """
        which = "This run" if num_runs == 1 else "The largest of these runs"
        self._memory = f"{which} needs {memory}."

    def show(self, progress: RunProgress) -> None:
        """Bring the bar of the current run up to date."""
        if self._memory and not self._quiet:
            self._console.print(self._memory, highlight=False)
            self._memory = ""
        if self._task is None:
            name = describe_run(progress.spec)
            description = f"[{self._num_finished + 1}/{self._num_runs}] {name}"
            self._task = self._live.add_task(description, total=1.0, state="")
        self._live.update(self._task, completed=progress.share, state=_state(progress))

    def finish(self, result: RunResult) -> None:
        """Leave one line for a run that is done."""
        self._num_finished += 1
        if self._task is not None:
            self._live.refresh()  # a quick run ends between two frames
            self._live.remove_task(self._task)
            self._task = None
        seconds, self._started = time.monotonic() - self._started, time.monotonic()
        if self._quiet:
            return
        name = describe_run(result.store.spec(result.run_key))
        what = "was done" if result.was_done else f"done in {duration(seconds)}"
        losses = last_losses(result.records)
        count = f"[{self._num_finished}/{self._num_runs}]"
        self._print(f"{count} {name}: {what}; {losses}; run {result.run_key}")


class SweepDisplay(_Bar):
    """One bar for all runs of a plan, and one line for each that ends."""

    def __init__(self, plan: Plan, workers: int, *, quiet: bool) -> None:
        super().__init__(width=30, quiet=quiet)
        self._plan = plan
        self._total = len(plan.done) + len(plan.tasks)
        self._count = len(plan.done)
        self._shares: dict[str, float] = {}
        self._ended: set[str] = set()
        self._began = time.monotonic()
        self._bar = self._live.add_task("", total=1.0, state="")

    def __enter__(self) -> Self:
        if not self._quiet:
            for number, spec in enumerate(self._plan.done, start=1):
                name = self._plan.words[spec.run_key]
                self._print(f"[{number}/{self._total}] {name}: was done")
            if self._plan.tasks:
                self._print(f"The largest of these runs needs {self._plan.memory()}.")
        return super().__enter__()

    def show(self, standing: Standing) -> None:
        """Bring the bar up to date."""
        if standing.key not in self._ended:
            self._shares[standing.key] = standing.share
        self._update()

    def finish(self, outcome: Outcome, losses: str) -> None:
        """Leave one line for a run that has ended, with its losses if it is done."""
        self._count += 1
        self._ended.add(outcome.key)
        self._shares.pop(outcome.key, None)
        self._update()
        if self._quiet:
            return
        words = outcome.message or outcome.status
        if outcome.status == "done":
            words = f"done in {duration(outcome.seconds)}; {losses}"
        name = self._plan.words[outcome.key]
        self._print(f"[{self._count}/{self._total}] {name}: {words}; run {outcome.key}")

    def _update(self) -> None:
        seconds = self._plan.seconds
        weights = {task.key: seconds.get(task.key, 1.0) for task in self._plan.tasks}
        whole = sum(weights.values()) or 1.0
        made = sum(weights[key] for key in self._ended)
        made += sum(weights[key] * share for key, share in self._shares.items())
        share = made / whole
        passed = time.monotonic() - self._began
        left = duration(passed * (1 - share) / share) if share > 0 else "?"
        description = f"{self._count}/{self._total} runs"
        state = f"{share:.0%}  {len(self._shares)} running  {left} left"
        self._live.update(
            self._bar, completed=share, description=description, state=state
        )


def last_losses(records: xr.Dataset) -> str:
    """What networks ended with, as means."""
    last = records.isel(step=-1)
    return (
        f"train loss {_mean(last.train_loss.values)}, "
        f"test loss {_mean(last.test_loss.values)}, "
        f"test accuracy {_mean(last.test_accuracy.values)}"
    )


def describe_run(spec: RunSpec) -> str:
    """A run in a few words: `hasyv2 256-256, 10 replicas, mark "a"`."""
    widths = "-".join(str(width) for width in spec.network.widths)
    words = [f"{spec.data.name} {widths}", f"{spec.run.replicas} replicas"]
    if spec.mark is not None:
        words.append(f'mark "{spec.mark.text or spec.mark.image}"')
    return ", ".join(words)


def _state(progress: RunProgress) -> str:
    metrics = progress.metrics
    words = [f"epoch {progress.epoch}/{progress.spec.training.epochs}"]
    if metrics is not None:
        words.append(f"train {_mean(metrics.train_loss)}")
        words.append(f"test {_mean(metrics.test_loss)}")
    words.append(f"{progress.examples_per_second:,.0f} examples/s")
    words.append(f"{duration(progress.seconds_left)} left")
    return "  ".join(words)


def _mean(values_R: Array) -> str:
    finite = values_R[np.isfinite(values_R)]
    return f"{finite.mean():.4g}" if len(finite) else "nan"


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s` or `7 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
