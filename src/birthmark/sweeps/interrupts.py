"""Ctrl-C and termination wait until the step that is being made is done."""

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
    """Note SIGINT and SIGTERM instead of dying from them; a second one is obeyed.

    Only the main thread can handle signals; elsewhere nothing is deferred.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    def note(number: int, frame: FrameType | None) -> None:
        if interrupt.came:
            raise KeyboardInterrupt
        interrupt.came = True

    before = {
        number: signal.signal(number, note)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
