"""The cells of a grid as settings: what is varied, together, one by one, or derived.

    [grid.product]                       # each value with each of the others
    "training.lr" = [0.01, 0.1]
    "run.seed" = { seeds = 10 }          # 0 ... 9; { seeds = 5, from = 10 }

    [grid.zip]                           # first with first, second with second
    "network.widths" = [[64, 64], [256, 256]]
    "training.epochs" = [400, 100]

    [[grid.list]]                        # these settings, and no others
    "initialization.name" = "he_normal"
    "training.lr" = 0.05

    [grid.derive]                        # of what the other fields say
    "training.batch_size" = "int(12.8 / lr)"

    [grid]
    where = "lr * widths[0] < 100"       # or a list of conditions

Product, zip and list are multiplied with each other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from birthmark.errors import SpecError, unknown_name

KEYS = ("product", "zip", "list", "derive", "where")
_MOST_CELLS = 1_000_000


def expand_cells(grid: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The settings of each cell, the last key of the product fastest.

    Raises:
        SpecError: A table is unknown or no table, values are no list, lists of a zip
            differ in length, or there are more cells than anybody can run.
    """
    for key in grid:
        if key not in KEYS:
            raise SpecError(f"grid.{key}: {unknown_name('table', key, KEYS)}")
    together = (_listed(grid.get("list", [])), _zipped(_table(grid, "zip")))
    axes = [axis for axis in together if axis is not None]
    product = _values(_table(grid, "product"), "grid.product.")
    axes += [[{key: value} for value in values] for key, values in product.items()]
    count = math.prod(len(axis) for axis in axes)
    if count > _MOST_CELLS:
        raise SpecError(f"grid: {count} runs are more than the {_MOST_CELLS} at most")
    for parts in itertools.product(*axes):
        yield {key: value for part in parts for key, value in part.items()}


def flatten_product(tables: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values of `grid.product` by dotted key, ranges of seeds written out.

    Raises:
        SpecError: A value is no list.
    """
    product = _table(tables.get("grid", {}), "product")
    return _values(product, "grid.product.")


def derived_settings(grid: Mapping[str, Any]) -> dict[str, str]:
    """Expressions by the field that they give."""
    derived = _flatten(_table(grid, "derive"))
    for key, text in derived.items():
        if not isinstance(text, str):
            raise SpecError(
                f"grid.derive.{key}: needs an expression in quotes, got {text!r}"
            )
    return derived


def conditions(grid: Mapping[str, Any]) -> list[str]:
    """Expressions that are true of each cell that stays."""
    where = grid.get("where", [])
    texts = [where] if isinstance(where, str) else where
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise SpecError(f"grid.where: needs an expression or a list, got {where!r}")
    return texts


def _zipped(table: dict[str, Any]) -> list[dict[str, Any]] | None:
    if not table:
        return None
    values = _values(table, "grid.zip.")
    lengths = {key: len(one) for key, one in values.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{key} has {n}" for key, n in lengths.items())
        raise SpecError(f"grid.zip: lists must be of one length: {said}")
    rows = zip(*values.values(), strict=True)
    return [dict(zip(values, row, strict=True)) for row in rows]


def _listed(cells: Any) -> list[dict[str, Any]] | None:
    if not isinstance(cells, list) or not all(isinstance(one, dict) for one in cells):
        raise SpecError(f"grid.list: needs to be a list of tables, got {cells!r}")
    return [_flatten(one) for one in cells] or None


def _values(table: dict[str, Any], prefix: str) -> dict[str, list[Any]]:
    """Lists of values by dotted key; ranges of seeds are written out."""
    found = {}
    for key, value in _flatten(table, stop=_is_range).items():
        values = _count_seeds(prefix + key, value) if _is_range(value) else value
        if not isinstance(values, list) or not values:
            raise SpecError(f"{prefix}{key}: needs a list of values, got {value!r}")
        found[key] = values
    return found


def _is_range(value: Any) -> bool:
    return isinstance(value, dict) and "seeds" in value


def _count_seeds(key: str, given: dict[str, Any]) -> list[int]:
    count, first = given["seeds"], given.get("from", 0)
    fits = type(count) is int and type(first) is int and count > 0 <= first
    if not fits or set(given) - {"seeds", "from"} or count > _MOST_CELLS:
        raise SpecError(
            f"{key}: needs {{ seeds = N, from = FIRST }}, N from 1 to {_MOST_CELLS}, "
            f"got {given!r}"
        )
    return list(range(first, first + count))


def _flatten(
    tables: dict[str, Any], prefix: str = "", stop: Any = lambda value: False
) -> dict[str, Any]:
    """Dotted keys, whether quoted as one or written as nested tables."""
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, dict) and not stop(value):
            flat |= _flatten(value, f"{prefix}{key}.", stop)
        else:
            flat[prefix + key] = value
    return flat


def _table(tables: Mapping[str, Any], key: str) -> dict[str, Any]:
    table = tables.get(key, {})
    if not isinstance(table, dict):
        raise SpecError(f"grid.{key}: needs to be a table, got {table!r}")
    return table
