"""What is said while something takes a while: turning on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def announced(what: str) -> Iterator[None]:
    """Say what is done for a while: turning on a terminal, as a line elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"{what} ...")
    with waited(what):
        yield


@contextmanager
def waited(what: str) -> Iterator[None]:
    """As `announced`, and silent where there is no terminal: errors stand alone."""
    with Console(stderr=True).status(f"{what} ..."):
        yield
