"""What is said while something takes a while: turning on a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

EVERY_S = 10.0  # a line, where there is no terminal


@contextmanager
def announced(what: str) -> Iterator[None]:
    """Say what is done for a while: turning on a terminal, line by line elsewhere."""
    console = Console(stderr=True)
    if console.is_terminal:
        with waited(what):
            yield
        return
    console.print(f"{what} ...")
    begun, ended = time.monotonic(), threading.Event()

    def go_on() -> None:
        while not ended.wait(EVERY_S):
            console.print(f"{what} ... {time.monotonic() - begun:.0f} s so far")

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def waited(what: str) -> Iterator[None]:
    """As `announced`, and silent where there is no terminal: errors stand alone."""
    with Console(stderr=True).status(f"{what} ..."):
        yield
