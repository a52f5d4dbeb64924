"""Tables from and to TOML files, and settings laid over them."""

from __future__ import annotations

import copy
import hashlib
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from birthmark.errors import SpecError
from birthmark.foreign_files import open_regular, read_at_most

MOST_BYTES = 10_000_000  # of a spec or a grid


def apply_settings(
    tables: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Nested tables with dotted keys set in them; the tables given stay as they are."""
    changed: dict[str, Any] = copy.deepcopy(dict(tables))
    for dotted, value in settings.items():
        *parents, key = dotted.split(".")
        table = changed
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise SpecError(f"setting {dotted!r}: {parent!r} is not a table")
        table[key] = value
    return changed


def parse_setting(text: str) -> tuple[str, Any]:
    """`training.lr=0.05` as key and value; a value that is no TOML is a text.

    Raises:
        SpecError: There is no key or no equals sign.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SpecError(f"setting {text!r} is not of the form key=value")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except ValueError:  # also a number of more digits than Python reads
        return key.strip(), value.strip()


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        SpecError: There is no such file, or it is not TOML; the message has the line.
    """
    try:
        # editors on Windows put a byte order mark in front
        return tomllib.loads(read_at_most(path, MOST_BYTES).decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpecError(f"cannot read the spec {path}: {reason}") from error
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path}: not TOML: {error}") from error


def checksum_file(key: str, path: str) -> str:
    """The SHA-256 of a file that a spec names, as 64 hex digits.

    Args:
        key: The field of the spec that names it, for the message.
        path: Where it lies.

    Raises:
        ValueError: It is missing, unreadable, or no regular file (a device has no end).
    """
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{key} {path!r} cannot be read: {error.strerror}") from error


def resolve_files(tables: Mapping[str, Any], path: str | Path) -> None:
    """Make the paths in the tables of a spec absolute, from the folder of its file.

    The image of a mark, and what rules of initialization name by `file` or `..._file`.
    """
    mark, initialization = tables.get("mark"), tables.get("initialization")
    if isinstance(mark, dict):
        _make_absolute(mark, "image", Path(path).parent)
    if isinstance(initialization, dict):
        for rule in _rules(initialization):
            for key in filter(names_file, list(rule)):
                _make_absolute(rule, key, Path(path).parent)


def names_file(key: str) -> bool:
    """Whether a parameter of a rule is the path of a file, hashed by its content."""
    return key == "file" or key.endswith("_file")


def _rules(table: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A table and the tables in it, at any depth."""
    yield table
    for value in table.values():
        if isinstance(value, dict):
            yield from _rules(value)


def _make_absolute(table: dict[str, Any], key: str, folder: Path) -> None:
    if isinstance(table.get(key), str):
        table[key] = str((folder / table[key]).resolve())


class lines_named:  # noqa: N801 - used as a function: `with lines_named(path):`
    """Add file and line to an error about a dotted key that was read from a file.

    Keys of the spec stand in the file behind one of the prefixes; those that settings
    laid over the file are named as such.
    """

    def __init__(
        self,
        path: str | Path,
        prefixes: Sequence[str] = ("",),
        settings: Collection[str] = (),
    ) -> None:
        self.path, self.prefixes, self.settings = Path(path), prefixes, settings

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: object, error: BaseException | None, trace: object
    ) -> None:
        if not isinstance(error, SpecError):
            return
        key = str(error).partition(":")[0]
        if any(f"{key}.".startswith(f"{setting}.") for setting in self.settings):
            raise SpecError(f"--set {error}") from error
        text = self.path.read_text(encoding="utf-8")
        lines = (
            find_line(text, p + part) for part in _parents(key) for p in self.prefixes
        )
        line = next((line for line in lines if line), None)
        place = f"{self.path}, line {line}" if line else str(self.path)
        raise SpecError(f"{place}: {error}") from error


def _parents(key: str) -> list[str]:
    """`a.b.0`, `a.b`, `a`: an inline table or a list stands on its parent's line."""
    parts = key.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def find_line(text: str, dotted: str) -> int | None:
    """The line of a TOML text (from 1) on which a dotted key or its table stands."""
    table, table_line = "", None
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            table = header[1].replace('"', "")
            if dotted == table:
                table_line = number
            continue
        key = re.match(r'\s*"?([\w.\-]+)"?\s*=', line)
        if key and dotted == (f"{table}." if table else "") + key[1]:
            return number
    return table_line
