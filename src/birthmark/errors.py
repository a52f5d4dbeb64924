"""Kinds of errors: each message says what was asked, what came, and what to do."""

import difflib
import errno
from collections.abc import Iterable
from reprlib import Repr

_REPR = Repr()
_REPR.maxstring = _REPR.maxother = 80


class BirthmarkError(Exception):
    """Root of all errors that a user can mend; the command line exits with 2."""


class SpecError(BirthmarkError, ValueError):
    """A spec, a grid or one of their names or values cannot be used."""


class DataError(BirthmarkError):
    """A data set is missing, damaged, or not what its name promises."""


class StoreError(BirthmarkError):
    """A store or one of its runs cannot be read or written."""


class WeightsError(BirthmarkError, ValueError):
    """Weights, or facts about them, do not fit together or are not what is needed."""


class HardwareError(BirthmarkError):
    """The device or the precision asked for is not to be had on this machine."""


class MissingDependencyError(BirthmarkError, ImportError):
    """An optional package is needed and not installed."""


def shorten(value: object) -> str:
    """What came, as a message quotes it: at most about a line, however long it is."""
    try:
        return _REPR.repr(value)
    except ValueError:  # Python writes no whole number of over 4300 digits
        return "a number of thousands of digits"


def say_error(error: Exception) -> str:
    """What other code raised, in one line: its class and the first line it says."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


def say_shortage(error: Exception) -> str | None:
    """What this machine has too little of; None for any other error.

    Python, NumPy, torch and the loader of libraries say so in errors of several kinds.
    """
    said = str(error)
    number = error.errno if isinstance(error, OSError) else None
    if "start new thread" in said or number == errno.EAGAIN:
        return (
            "this machine starts no more threads or processes: end other programs "
            "(ulimit -u)"
        )
    if number in (errno.EMFILE, errno.ENFILE):
        return "no more files can be opened at once: allow more (ulimit -n)"
    if isinstance(error, MemoryError) or any(words in said for words in _NO_MEMORY):
        return "not enough memory is free: end other programs, or ask for less at once"
    return None


_NO_MEMORY = ("allocate memory", "out of memory", "failed to map segment")


def unknown_name(kind: str, name: str, known: Iterable[str]) -> SpecError:
    """The error for a name that no table has, with the nearest one that it has."""
    names = sorted(known)
    near = difflib.get_close_matches(name[:200], names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
    return SpecError(f"unknown {kind} {shorten(name)}: {hint}")
