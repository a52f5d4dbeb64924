"""Drawings made side by side, in as many processes as there are cores.

Nearly all of the time that a drawing takes is Python's own, which no thread shortens.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from multiprocessing import get_context
from typing import Any, TypeVar

from birthmark.figures.drawings import Drawing, Kind
from birthmark.figures.palettes import PALETTES, styled

Made = TypeVar("Made")
_BACKENDS: dict[Kind, str] = {"png": "agg", "svg": "svg", "pdf": "pdf"}
_task: list[Any] = []  # of a process that was copied: what it makes, and of which


def make_each(
    make: Callable[[Drawing], Made],
    drawings: Sequence[Drawing],
    *,
    formats: Sequence[Kind],
    apart: bool,
) -> list[Made]:
    """What is made of each drawing, in their order.

    Args:
        make: Called with each.
        drawings: Any: processes are copies of this one, so nothing is sent to them.
        formats: Into which they are rendered: what writes these is loaded before.
        apart: In processes of their own, where Linux can copy this one; its threads
            must hold nothing meanwhile that drawing needs. What cannot be made so is
            made here.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    workers = min(len(drawings), cores)
    if not apart or workers < 2:
        return list(map(make, drawings))
    with styled(PALETTES["light"]):  # loaded once, and copied
        import_module("matplotlib.figure")
        for name in dict.fromkeys(("png", *formats)):  # texts are measured as in a PNG
            import_module(f"matplotlib.backends.backend_{_BACKENDS[name]}")
    with warnings.catch_warnings():
        # Python warns of threads: those here show how long it takes, or wait for work
        warnings.simplefilter("ignore", DeprecationWarning)
        begin = (make, drawings)
        try:
            pool = ProcessPoolExecutor(workers, get_context("fork"), _begin, begin)
            with pool:
                return list(pool.map(_make, range(len(drawings))))
        except (BrokenProcessPool, OSError):
            # one was ended from outside, or none could be started
            return list(map(make, drawings))


def _begin(make: Callable[[Drawing], Any], drawings: Sequence[Drawing]) -> None:
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the first has the last word
    _task[:] = make, drawings


def _make(place: int) -> Any:
    make, drawings = _task
    return make(drawings[place])
