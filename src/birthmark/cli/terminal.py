"""What stands around every command: any terminal, a pipe that closes, a full disk.

What cannot be said on standard error (its disk is full, who read it has left) is left
out: a training is not lost with the reader of its progress.
"""

from __future__ import annotations

import errno
import io
import os
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

    A character that the encoding lacks is escaped. A reader that leaves early, as
    `head` does, ends the command with the status of a closed pipe, which is none of
    ours; output that cannot be written (a full disk) with one line and 2.
    """
    _prepare()
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _leave(PIPE_CLOSED)
    except SystemExit as error:
        # typer and rich end with 1 where a pipe closed, which would read as "findings"
        if isinstance(error.__context__, BrokenPipeError):
            _leave(PIPE_CLOSED)
        raise
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.ENOSPC, errno.EIO):
            raise
        print(f"birthmark: output cannot be written: {error.strerror}", file=sys.stderr)
        _leave(2)


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

    def write(self, content: ReadableBuffer, /) -> int:
        try:
            return super().write(content)
        except OSError:
            return memoryview(content).nbytes


def _prepare() -> None:
    error = sys.stderr
    if error is sys.__stderr__ and isinstance(error, io.TextIOWrapper):
        raw = _Unfailing(error.fileno(), "w", closefd=False)
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(raw), error.encoding, line_buffering=True
        )
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _leave(status: int) -> None:
    # what is still buffered would be written at the end, and fail again
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
    raise SystemExit(status)
