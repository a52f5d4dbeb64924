"""What stands around every command: any terminal, a pipe that closes, a full disk.

What cannot be said (the disk is full, who read it has left) is left out, and the work
goes on: neither a training nor a file that was asked for is lost with the reader.
"""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

INTERRUPTED = 128 + 2  # as a shell reports a program that Ctrl-C ended
PIPE_CLOSED = 128 + 13  # as a shell reports a program that SIGPIPE ended


@contextmanager
def any_terminal() -> Iterator[None]:
    """Print whatever the terminal can show, and say in one line what cannot be printed.

    A character that the encoding lacks is escaped. Where the reader of standard output
    has left early, as `head` does, the command ends with the status of a closed pipe,
    which is none of ours; where it cannot be written (a full disk), with one line
    and 2.
    """
    output = _prepare()
    try:
        yield
    finally:
        sys.stdout.flush()
        if output is not None and (failure := output.failure):
            if failure.errno == errno.EPIPE:
                raise SystemExit(PIPE_CLOSED)
            reason = f"output cannot be written: {failure.strerror}"
            print(f"birthmark: {reason}", file=sys.stderr)
            raise SystemExit(2)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end a command with 130, whatever it does just then.

    Whoever can save something on the way notes the signal, or takes the
    `KeyboardInterrupt`; what is being imported may make of it an error of its own. What
    was told to ignore Ctrl-C, as `nohup` does, goes on ignoring it.
    """
    before = signal.getsignal(signal.SIGINT)
    if before not in (signal.SIG_DFL, signal.default_int_handler):
        yield
        return
    came = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGINT, interrupt)
        yield
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except Exception:
        if came:
            raise SystemExit(INTERRUPTED) from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)


class _Unfailing(io.FileIO):
    """A file to which all can be written; what it cannot take is dropped."""

    failure: OSError | None = None  # the last

    def write(self, content: ReadableBuffer, /) -> int:
        try:
            while (count := super().write(content)) is None:
                select.select([], [self], [])  # a pipe that does not block is full
        except OSError as error:
            self.failure = error
            return memoryview(content).nbytes
        return count


def _prepare() -> _Unfailing | None:
    """Make both streams fit to be written to; the file of standard output, if any."""
    # a file of ours that is opened as 1 or 2 would get what libraries in C say
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    output = None
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif stream is getattr(sys, f"__{name}__"):
            raw = _Unfailing(stream.fileno(), "w", closefd=False)
            text = io.TextIOWrapper(
                io.BufferedWriter(raw),
                stream.encoding,
                "backslashreplace",
                line_buffering=name == "stderr" or raw.isatty(),
            )
            setattr(sys, name, text)
            output = raw if name == "stdout" else output
        elif isinstance(stream, io.TextIOWrapper):  # of who calls us from Python
            stream.reconfigure(errors="backslashreplace")
    return output
