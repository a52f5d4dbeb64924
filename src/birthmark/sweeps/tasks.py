"""One task of a sweep: what any executor hands to any process, and what comes back.

A task says which run, and how its steps are made (path, products, threads), so that its
bits are the same whichever process makes them. What comes back is a word, no arrays.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from birthmark.errors import BirthmarkError, say_error
from birthmark.spec import RunSpec
from birthmark.store import ClaimedError, open_store
from birthmark.sweeps.interrupts import Stopped
from birthmark.sweeps.pipeline import WAIT_SECONDS, run
from birthmark.sweeps.stacks import on_threads
from birthmark.sweeps.throughput import Progress

Report = Callable[["Standing"], None]


@dataclass(frozen=True)
class Standing:
    """Where a task is."""

    key: str
    share: float  # of its steps, 0 ... 1
    seconds_left: float


@dataclass(frozen=True)
class Outcome:
    """What has become of a task."""

    key: str
    status: Literal["done", "failed", "stopped"]
    message: str = ""  # one line: why it failed, or what was not saved
    seconds: float = 0.0
    interrupted: bool = False  # while it was at work: nothing is begun after it


class Task(Protocol):
    """A run to be carried out; it can be pickled."""

    @property
    def key(self) -> str:
        """Names it; for a run of a spec, its run key."""

    @property
    def words(self) -> str:
        """What it is, for who looks on."""

    def is_done(self, store: Path) -> bool:
        """Whether its run is there and finished."""

    def carry_out(self, store: Path, report: Report) -> None:
        """Do it, here, from wherever it stands."""

    def command(self, store: Path) -> str:
        """What carries it out alone."""


@dataclass(frozen=True)
class RunTask:
    """The run of a spec."""

    spec: RunSpec
    how: Mapping[str, Any] = field(default_factory=dict)  # path, products, threads
    words: str = ""

    @property
    def key(self) -> str:
        """The run key."""
        return self.spec.run_key

    def is_done(self, store: Path) -> bool:
        """Whether the run is there and finished."""
        return open_store(store).is_done(self.key)

    def carry_out(self, store: Path, report: Report) -> None:
        """Train, measure and store it."""

        def tell(progress: Progress) -> None:
            report(Standing(self.key, progress.share, progress.seconds_left))

        with on_threads(self.how.get("threads")):
            run(self.spec, store, watch=tell, how=self.how)

    def command(self, store: Path) -> str:
        """`birthmark run`, with the spec that lies in the store."""
        whole = store.absolute()  # for a shell that is elsewhere
        spec = whole / self.key / "spec.toml"
        return shlex.join(["birthmark", "run", str(spec), "--store", str(whole)])


def attempt(task: Task, store: Path, report: Report = lambda standing: None) -> Outcome:
    """Carry a task out, or say why not; while another process is at it, wait for it.

    An interrupt stops it when all is saved.
    """
    began = time.monotonic()
    while True:
        try:
            if not task.is_done(store):
                task.carry_out(store, report)
        except ClaimedError:
            try:
                time.sleep(WAIT_SECONDS)
                continue
            except KeyboardInterrupt:
                return interrupted(task, store)
        except Stopped:
            return interrupted(task, store, seconds=time.monotonic() - began)
        except KeyboardInterrupt:
            how = "stopped before all was saved"
            return interrupted(task, store, how, time.monotonic() - began)
        except BirthmarkError as error:
            return Outcome(task.key, "failed", " ".join(str(error).split()))
        except Exception as error:
            return Outcome(task.key, "failed", say_error(error))
        return Outcome(task.key, "done", seconds=time.monotonic() - began)


def interrupted(
    task: Task, store: Path, message: str = "", seconds: float = 0.0
) -> Outcome:
    """What has become of a task that was interrupted: done, if it was about to end."""
    with contextlib.suppress(BirthmarkError):
        if task.is_done(store):
            return Outcome(task.key, "done", "", seconds, interrupted=True)
    return Outcome(task.key, "stopped", message, interrupted=True)
