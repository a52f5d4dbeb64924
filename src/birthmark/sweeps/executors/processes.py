"""Tasks carried out by a pool of processes on this machine."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from birthmark.errors import SpecError
from birthmark.sweeps.executors.interface import MOST_LOSSES
from birthmark.sweeps.interrupts import deferred_interrupts, raised_interrupts
from birthmark.sweeps.tasks import (
    Outcome,
    Report,
    Standing,
    Task,
    attempt,
    interrupted,
)


class Here:
    """This process."""

    workers = 1

    def carry_out(
        self, tasks: Sequence[Task], store: Path, report: Report
    ) -> Iterator[Outcome]:
        """Carry all tasks out, and yield what becomes of each."""
        with raised_interrupts():  # between two of them too
            for task in tasks:
                outcome = attempt(task, store, report)
                yield outcome
                if outcome.interrupted:
                    return


_LOOK_SECONDS = 0.2  # between two looks at signals
_REPORT_SECONDS = 1.0  # between two reports of a worker


class Processes:
    """A pool of processes; one that dies costs its task an attempt, not the sweep.

    Attributes:
        workers: How many.
        devices: Numbers of the GPUs, of which each worker has one; all unless given.
    """

    def __init__(self, workers: int, devices: Sequence[int] | None = None) -> None:
        if devices is None:
            devices = range(torch.cuda.device_count())
        self.workers, self.devices = workers, tuple(devices)

    def carry_out(
        self, tasks: Sequence[Task], store: Path, report: Report
    ) -> Iterator[Outcome]:
        """Carry all tasks out, and yield what becomes of each."""
        _check_picklable(tasks)
        waiting, losses = list(tasks), Counter[str]()
        pool = [self._start(number) for number in range(min(self.workers, len(tasks)))]
        try:
            with deferred_interrupts() as interrupt:
                stopping = False
                while True:
                    if interrupt.came and not stopping:
                        stopping = True
                        waiting.clear()
                        for worker in pool:
                            worker.stop()
                    for worker in pool:
                        if worker.task is None and waiting:
                            worker.give(waiting.pop(0), store)
                    if not any(worker.task for worker in pool):
                        return
                    for worker in _ready(pool):
                        task = worker.task
                        message = worker.receive()
                        if isinstance(message, Standing):
                            report(message)
                        elif isinstance(message, Outcome):
                            yield message
                        elif task is not None:  # it has died
                            pool[pool.index(worker)] = self._start(worker.number)
                            losses[task.key] += 1
                            if stopping:
                                yield interrupted(task, store)
                            elif losses[task.key] < MOST_LOSSES:
                                waiting.insert(0, task)
                            else:
                                yield Outcome(task.key, "failed", worker.last_words())
        except KeyboardInterrupt:  # the second: at once
            for worker in pool:
                worker.process.kill()
            raise
        finally:
            for worker in pool:
                worker.end()

    def _start(self, number: int) -> _Worker:
        device = self.devices[number % len(self.devices)] if self.devices else None
        ours, theirs = multiprocessing.Pipe()
        process = _context().Process(target=_serve, args=(theirs, device), daemon=True)
        process.start()
        theirs.close()
        return _Worker(number, process, ours)


@dataclass
class _Worker:
    """A process of the pool, seen from here."""

    number: int
    process: Any
    pipe: Connection
    task: Task | None = None

    def give(self, task: Task, store: Path) -> None:
        self.task = task
        with contextlib.suppress(OSError):  # it has died: `receive` finds out
            self.pipe.send((task, store))

    def receive(self) -> Outcome | Standing | None:
        """What it says; None if it has died."""
        try:
            message: Outcome | Standing = self.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            return None
        if isinstance(message, Outcome):
            self.task = None
        return message

    def stop(self) -> None:
        """Let it save, and stop."""
        if self.process.is_alive() and self.task is not None:
            os.kill(self.process.pid, signal.SIGTERM)

    def last_words(self) -> str:
        self.process.join(1)
        status = self.process.exitcode
        how = f"signal {-status}" if status and status < 0 else f"status {status}"
        return f"its process died {MOST_LOSSES} times, at last with {how}"

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.pipe.send(None)
        self.pipe.close()
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()


def _ready(pool: Sequence[_Worker]) -> list[_Worker]:
    """Those that have something to say, or have died."""
    busy = {worker.pipe: worker for worker in pool if worker.task is not None}
    return [busy[pipe] for pipe in wait([*busy], _LOOK_SECONDS)]  # type: ignore[index]


def _context() -> Any:
    """Processes begin anew: threads and locks of this one are not theirs."""
    method = "forkserver" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["birthmark.sweeps"])
    return context


def _serve(pipe: Connection, device: int | None) -> None:
    """What a worker does: task after task, until there is none."""
    _leave_group()
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(device)
    last = 0.0

    def report(standing: Standing) -> None:
        nonlocal last
        if time.monotonic() - last > _REPORT_SECONDS:
            last = time.monotonic()
            pipe.send(standing)

    with (
        raised_interrupts(),
        contextlib.suppress(EOFError, OSError, KeyboardInterrupt),
    ):
        while (given := pipe.recv()) is not None:
            task, store = given
            pipe.send(attempt(task, store, report))


def _leave_group() -> None:
    """Hear of interrupts from the parent alone, and of its death as of one."""
    with contextlib.suppress(OSError, AttributeError):
        os.setsid()
    if sys.platform == "linux":
        parent_dies = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(parent_dies, signal.SIGTERM)


def _check_picklable(tasks: Sequence[Task]) -> None:
    try:
        pickle.dumps(tasks[:1])
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise SpecError(
            f"the training function cannot be sent to other processes ({reason}): "
            "define it at the top of a module"
        ) from error
