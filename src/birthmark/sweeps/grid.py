"""A grid of runs: one spec, and what is varied of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from birthmark.errors import SpecError, unknown_name
from birthmark.spec import (
    RunSpec,
    apply_settings,
    lines_named,
    read_toml,
    resolve_files,
)
from birthmark.store import flatten
from birthmark.sweeps.cells import conditions, derived_settings, expand_cells
from birthmark.sweeps.expressions import evaluate

Rule = str | Callable[[Mapping[str, Any]], Any]  # an expression, or a function


@dataclass(frozen=True)
class Grid:
    """The runs of a sweep, in the order of the product (last key fastest)."""

    specs: tuple[RunSpec, ...]

    def __len__(self) -> int:
        return len(self.specs)

    def __iter__(self) -> Iterator[RunSpec]:
        return iter(self.specs)

    @classmethod
    def over(
        cls,
        spec: RunSpec | Mapping[str, Any],
        product: Mapping[str, list[Any]] | None = None,
        *,
        zip: Mapping[str, list[Any]] | None = None,
        list: list[Mapping[str, Any]] | None = None,
        derive: Mapping[str, Rule] | None = None,
        where: Rule | None = None,
    ) -> Grid:
        """The grid over a spec; as in TOML (`birthmark.sweeps.cells`).

            bm.Grid.over(spec, {"run.seed": range(10), "training.lr": [0.01, 0.1]},
                         derive={"training.batch_size": lambda run: ...},
                         where="lr < 0.1 or widths[0] > 50")

        Args:
            spec: What all runs share, as a spec or as its tables.
            product: Values by dotted key, each with each of the others.
            zip: Values by dotted key that go together, all lists of one length.
            list: Settings, cell by cell.
            derive: By key, an expression or a function of the fields of a run, which
                it takes by their dotted names.
            where: What is true of the runs that stay, likewise.

        Raises:
            SpecError: One of the runs is no valid spec.
        """
        tables: dict[str, Any] = {
            "product": list_values(product),
            "zip": list_values(zip),
            "list": [dict(one) for one in list or ()],
        }
        if isinstance(spec, RunSpec):
            spec = spec.model_dump(exclude_unset=True)
        rules = [] if where is None else [where]
        return cls(tuple(_make_specs(spec, tables, dict(derive or {}), rules)))

    @classmethod
    def from_tables(cls, tables: dict[str, Any]) -> Grid:
        """The grid of the tables `spec` and `grid` (`birthmark.sweeps.cells`).

        Raises:
            SpecError: A table or key is unknown, a value is not a list, or one of the
                runs is no valid spec.
        """
        for key in tables:
            if key not in ("spec", "grid"):
                raise SpecError(
                    f"{key}: {unknown_name('table', key, ['spec', 'grid'])}"
                )
        base, grid = _table(tables, "spec"), _table(tables, "grid")
        derived, where = derived_settings(grid), conditions(grid)
        return cls(tuple(_make_specs(base, grid, derived, where)))

    @classmethod
    def from_toml(cls, path: str | Path) -> Grid:
        """Read a grid; see `from_tables`.

        Raises:
            SpecError: Also when the file cannot be read; with file and line.
        """
        tables = read_toml(path)
        if isinstance(tables.get("spec"), dict):
            resolve_files(tables["spec"], path)
        prefixes = ("grid.product.", "grid.zip.", "grid.derive.", "spec.", "")
        with lines_named(path, prefixes):
            return cls.from_tables(tables)


def list_values(table: Mapping[str, Any] | None) -> dict[str, Any]:
    """Values by key as lists of Python's own; ranges of seeds stay.

    Raises:
        SpecError: They are none, as one number.
    """
    found = {}
    for key, values in (table or {}).items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise SpecError(f"{key}: needs a list of values, got {values!r}")
        is_range = isinstance(values, Mapping)
        found[key] = values if is_range else [_as_python(value) for value in values]
    return found


def _as_python(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def check_rules(settings: Mapping[str, Any], derived: Mapping[str, Rule]) -> None:
    """Make sure that what is derived is not varied too, which nobody would see.

    Raises:
        SpecError: It is.
    """
    for key in derived:
        if key in settings:
            raise SpecError(
                f"{key}: is derived, and has values in the grid: leave one of the two"
            )


def apply_rules(
    fields: Mapping[str, Any], derived: Mapping[str, Rule], where: list[Rule]
) -> dict[str, Any] | None:
    """What is derived for a cell with these fields; None if it does not stay."""
    found: dict[str, Any] = {}
    for key, rule in derived.items():
        try:
            found[key] = _apply(rule, {**fields, **found})
        except SpecError as error:
            raise SpecError(f"{key}: {error}") from error
    known = {**fields, **found}
    return found if all(_apply(rule, known) for rule in where) else None


def _make_specs(
    base: Mapping[str, Any],
    grid: Mapping[str, Any],
    derived: Mapping[str, Rule],
    where: list[Any],
) -> list[RunSpec]:
    """One spec a cell; what comes out twice is there once."""
    specs: dict[str, RunSpec] = {}
    for settings in expand_cells(grid):
        check_rules(settings, derived)
        spec = RunSpec(**apply_settings(base, settings))
        if derived or where:
            found = apply_rules(flatten(spec.model_dump()), derived, where)
            if found is None:
                continue
            if found:
                spec = RunSpec(**apply_settings(base, {**settings, **found}))
        specs[spec.run_key] = spec
    if not specs:
        raise SpecError("grid: no run is left: loosen its conditions")
    return list(specs.values())


def _apply(rule: Rule, fields: Mapping[str, Any]) -> Any:
    return evaluate(rule, fields) if isinstance(rule, str) else rule(fields)


def _table(tables: dict[str, Any], key: str) -> dict[str, Any]:
    table = tables.get(key, {})
    if not isinstance(table, dict):
        raise SpecError(f"{key}: needs to be a table, got {table!r}")
    return table
