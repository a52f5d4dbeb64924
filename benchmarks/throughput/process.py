"""The driver's end of a trainer: starts its process, asks, and reads the answer."""

import json
import os
import subprocess
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from throughput.case import Case
from throughput.trainer import ENTRIES

HERE = Path(__file__).parent.parent
# read by OpenMP, MKL and OpenBLAS, and by XLA (JAX and TensorFlow) for its thread pool
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NPROC",
)


class Process:
    """A trainer, or the measurement of rates, in an environment of its own."""

    def __init__(self, name: str, python: Path, threads: int) -> None:
        self.name = name
        entry = ENTRIES.get(name)
        environment = dict(os.environ)
        environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
        for key, value in ((entry and entry.environment) or {}).items():
            environment[key] = value.format(threads=threads)
        # the notices of the frameworks, read if it ends early
        self._said = TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [str(python), "-m", "throughput.child", name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=HERE,
            env=environment,
            stderr=self._said,
            text=True,
        )
        _keep_to(self._process.pid, threads)

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """One request, one answer.

        Raises:
            RuntimeError: The process ended; the message has the last it said.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._said.seek(0)
            last = self._said.read().decode(errors="replace").strip().split("\n")[-1]
            raise RuntimeError(f"{self.name!r} ended when asked to {do!r}: {last}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def setup(self, case: Case, start: Path, first: int = 0) -> None:
        """Stand at the start of a case."""
        self.ask("setup", case=asdict(case), start=str(start), first=first)

    def close(self) -> None:
        """End it."""
        with suppress(BrokenPipeError):
            self._process.communicate()
        self._said.close()


def _keep_to(pid: int, threads: int) -> None:
    """Where there are more processors than threads, nobody gets more of them."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        if threads < len(allowed):
            os.sched_setaffinity(pid, allowed[:threads])
