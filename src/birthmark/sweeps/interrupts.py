"""Ctrl-C, termination and a terminal that closes wait for the end of a step."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


class Stopped(KeyboardInterrupt):
    """An interrupt after which all that was done is saved."""


class Interrupt:
    """Whether a signal to stop has come since."""

    def __init__(self) -> None:
        self.came = False


@contextmanager
def deferred_interrupts() -> Iterator[Interrupt]:
    """Note SIGINT, SIGTERM and SIGHUP instead of dying from them; a second is obeyed.

    What the process was told to ignore, as `nohup` does, stays ignored. Only the main
    thread can handle signals; elsewhere nothing is deferred.
    """
    interrupt = Interrupt()

    def note(number: int, frame: FrameType | None) -> None:
        if interrupt.came:
            raise KeyboardInterrupt
        interrupt.came = True

    with _handled(("SIGINT", "SIGTERM", "SIGHUP"), note):
        yield interrupt


@contextmanager
def raised_interrupts() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise what Ctrl-C does, so that files are closed."""
    process = os.getpid()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if os.getpid() == process:
            raise KeyboardInterrupt
        os._exit(128 + number)  # a child that a user's function has forked

    with _handled(("SIGTERM", "SIGHUP"), interrupt):
        yield


@contextmanager
def _handled(
    names: Sequence[str], handle: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    """Handle these signals, but for those ignored; nothing outside the main thread."""
    is_main = threading.current_thread() is threading.main_thread()
    # Windows lacks SIGHUP
    known = [getattr(signal, name) for name in names if hasattr(signal, name)]
    handlers = {n: signal.getsignal(n) for n in known if is_main}
    before = {
        number: signal.signal(number, handle)
        for number, handler in handlers.items()
        if handler not in (signal.SIG_IGN, None)  # None: not set by Python
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
