"""How all rooms say names, counts and tables, in text, in HTML and in JSON."""

from __future__ import annotations

import dataclasses
import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def say_names(names: Sequence[str], most: int = 3) -> str:
    """`a, b, c and 7 more`; a model without submodules has no name of its own."""
    shown = ", ".join(name or "(model)" for name in names[:most])
    rest = len(names) - most
    return f"{shown} and {rest:,} more" if rest > 0 else shown


def say_count(count: int, noun: str, many: str = "") -> str:
    """`1 layer`, `3 layers`, `2 matrices`."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def have(names: Sequence[str], one: str = "has", many: str = "have") -> str:
    """The verb that fits the number of names."""
    return one if len(names) == 1 else many


def say_others(names: Iterable[str], worst: str) -> str:
    """`; so are b and c`: what is true of the worst, and of others too."""
    others = [name for name in names if name != worst]
    return f"; so {have(others, 'is', 'are')} {say_names(others)}" if others else ""


def align(
    header: Sequence[str], rows: Sequence[Sequence[str]], num_left: int | None = None
) -> list[str]:
    """The lines of a table, the header first.

    Args:
        header: A name a column.
        rows: As long as the header.
        num_left: Of so many columns cells begin at the left, of the others they end at
            the right; all begin at the left unless given.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    left = len(widths) if num_left is None else num_left
    return [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]


def write_html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same as HTML, for notebooks."""
    head, *body = (
        "<tr>" + "".join(f"<{tag}>{html.escape(x)}</{tag}>" for x in row) + "</tr>"
        for tag, row in [("th", header), *(("td", row) for row in rows)]
    )
    return f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>"


def to_json(value: Any) -> str:
    """As JSON: dataclasses as objects, and null for what is not finite."""
    return json.dumps(_plain(value), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
