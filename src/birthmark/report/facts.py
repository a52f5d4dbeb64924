"""What holds for all runs, and what sets them apart: of specs and of manifests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NONE = "none"
_FEW = 12  # groups of runs


@dataclass(frozen=True)
class Group:
    """Runs that share these values, where others have other values."""

    run_keys: tuple[str, ...]
    values: tuple[tuple[str, str], ...]  # dotted name and value


@dataclass(frozen=True)
class Facts:
    """Dotted names with their values as text, in the order in which they came."""

    common: tuple[tuple[str, str], ...]
    # names that divide the runs in the same way stand together: the groups of each way
    apart: tuple[tuple[Group, ...], ...]

    @property
    def few(self) -> list[tuple[Group, ...]]:
        """Ways to divide the runs whose groups one can take in."""
        return [groups for groups in self.apart if len(groups) <= _FEW]

    @property
    def many(self) -> list[tuple[Group, ...]]:
        """The other ways: seeds, mostly."""
        return [groups for groups in self.apart if len(groups) > _FEW]

    @property
    def names_apart(self) -> list[str]:
        """The names whose values differ between runs."""
        return [name for groups in self.apart for name, _ in groups[0].values]


def split_facts(tables: Mapping[str, Mapping[str, Any]]) -> Facts:
    """Compare tables by run key; a name that a run lacks is `none` there."""
    said = {
        key: {name: say_value(value) for name, value in flatten(table).items()}
        for key, table in tables.items()
    }
    names = dict.fromkeys(name for one in said.values() for name in one)
    common: list[tuple[str, str]] = []
    ways: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for name in names:
        keys: dict[str, list[str]] = {}
        for key, one in said.items():
            keys.setdefault(one.get(name, NONE), []).append(key)
        if len(keys) == 1:
            common.append((name, next(iter(keys))))
        else:
            ways.setdefault(tuple(map(tuple, keys.values())), []).append(name)
    apart = (
        tuple(
            Group(keys, tuple((name, said[keys[0]].get(name, NONE)) for name in names))
            for keys in way
        )
        for way, names in ways.items()
    )
    return Facts(tuple(common), tuple(apart))


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one with dotted names; an empty table is None."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = None if isinstance(value, Mapping) else value
    return flat


def say_value(value: Any) -> str:
    """A value of a spec or a manifest, as a reader would write it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(say_value(one) for one in value) or NONE
    return str(value)
