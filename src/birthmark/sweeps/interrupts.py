"""Ctrl-C, termination and a terminal that closes wait for the end of a step."""

import signal
import threading
from collections.abc import Iterator
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
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    def note(number: int, frame: FrameType | None) -> None:
        if interrupt.came:
            raise KeyboardInterrupt
        interrupt.came = True

    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows lacks the last
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    handlers = {number: signal.getsignal(number) for number in numbers}
    before = {
        number: signal.signal(number, note)
        for number, handler in handlers.items()
        if handler not in (signal.SIG_IGN, None)  # None: not set by Python
    }
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
