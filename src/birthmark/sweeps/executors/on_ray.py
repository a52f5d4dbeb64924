"""Tasks carried out on a Ray cluster; all nodes see one folder with the store."""

from __future__ import annotations

import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from birthmark.errors import HardwareError, MissingDependencyError
from birthmark.sweeps.executors.interface import MOST_LOSSES
from birthmark.sweeps.interrupts import deferred_interrupts
from birthmark.sweeps.tasks import Outcome, Report, Task, attempt, interrupted

_LOOK_SECONDS = 0.5
_AHEAD = 2  # tasks handed over for each one that can run: Ray places them


class OnRay:
    """A Ray cluster, or this machine as one.

    Attributes:
        address: Of a cluster that is there (`ray://HOST:10001`, `auto`); without one a
            cluster of this machine is started, which listens on the loopback alone.
        cpus: Cores of one task; its threads.
        gpus: GPUs of one task; parts of one are fine.
        memory: Bytes of one task, by which Ray places it.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        cpus: float = 1,
        gpus: float = 0,
        memory: int | None = None,
    ) -> None:
        self.address, self.cpus, self.gpus = address, cpus, gpus
        self.memory = memory
        self._ray: Any = None

    @property
    def workers(self) -> int:
        """How many tasks the cluster has room for at present."""
        found = self._connect().cluster_resources()
        room = found.get("CPU", 1) / self.cpus
        if self.gpus:
            room = min(room, found.get("GPU", 0) / self.gpus)
        return max(1, int(room))

    def carry_out(
        self, tasks: Sequence[Task], store: Path, report: Report
    ) -> Iterator[Outcome]:
        """Carry all tasks out, and yield what becomes of each."""
        ray = self._connect()
        options = {"num_cpus": self.cpus, "num_gpus": self.gpus, "memory": self.memory}
        remote = ray.remote(max_retries=0, **options)(_attempt)
        waiting, losses = list(tasks), Counter[str]()
        running: dict[Any, Task] = {}
        folder, stopping = store.resolve(), False
        with deferred_interrupts() as interrupt:  # a second ends it; tasks save still
            while waiting or running:
                if interrupt.came and not stopping:
                    stopping = True
                    waiting.clear()
                    for one in running:
                        ray.cancel(one, force=False)  # KeyboardInterrupt: it saves
                while waiting and len(running) < _AHEAD * self.workers:
                    task = waiting.pop(0)
                    running[remote.remote(task, folder)] = task
                finished, _ = ray.wait(
                    [*running], timeout=_LOOK_SECONDS, fetch_local=False
                )
                for one in finished:
                    task = running.pop(one)
                    try:
                        yield ray.get(one)
                    except ray.exceptions.TaskCancelledError:
                        yield interrupted(task, folder)
                    except ray.exceptions.RayError as error:
                        losses[task.key] += 1
                        if stopping:
                            yield interrupted(task, folder)
                        elif losses[task.key] < MOST_LOSSES:
                            waiting.insert(0, task)
                        else:
                            yield Outcome(task.key, "failed", _first_line(error))

    def _connect(self) -> Any:
        if self._ray is not None:
            return self._ray
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray reads its rules when it is imported; since 2.60 a head asks for a token
        # where its user has one
        if "ray" not in sys.modules and (not self.address or _has_token()):
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        if not self.address and "ray" not in sys.modules:
            # so named since loopback is its rule on those systems; Ray resolves an
            # address of the loopback that it is given to that of the machine
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        try:
            import ray
        except ImportError as error:
            raise MissingDependencyError(
                "the executor ray needs Ray: pip install 'birthmark[ray]'"
            ) from error
        if not ray.is_initialized():
            _refuse_silence(self.address or "")
            local = {"include_dashboard": False}
            try:
                ray.init(  # without an address it would join any that runs here
                    self.address or "local",
                    log_to_driver=False,
                    logging_level="ERROR",
                    **({} if self.address else local),
                )
            except Exception as error:  # of a node that starts too slowly a bare one
                where = f"a cluster at {self.address}" if self.address else "Ray here"
                raise HardwareError(
                    f"cannot reach {where}: {_first_line(error)}"
                ) from error
        self._ray = ray
        return ray


def _refuse_silence(address: str) -> None:
    """Say at once that nobody listens at HOST:PORT; Ray tries for many minutes.

    Raises:
        HardwareError: Nobody does.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), 10).close()
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise HardwareError(
                f"cannot reach a cluster at {address}: {why}"
            ) from error


def _attempt(task: Task, store: Path) -> Outcome:
    return attempt(task, store)


def _has_token() -> bool:
    """Whether Ray would find a token of this user."""
    said = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    return bool(said) or (Path.home() / ".ray" / "auth_token").exists()


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), repr(error))
