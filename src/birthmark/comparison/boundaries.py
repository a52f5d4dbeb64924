"""Phase diagrams with few runs: only those along the boundaries are carried out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from birthmark.analysis import Column, Run, Thresholds
from birthmark.comparison.refinement import Point, Refined, refine
from birthmark.errors import SpecError
from birthmark.spec import RunSpec
from birthmark.store import Store
from birthmark.sweeps import Grid


def follow_boundaries(
    grid: Mapping[str, Any],
    x: str,
    y: str,
    carry_out: Callable[[Sequence[RunSpec]], Store],
    *,
    step: int = 4,
    thresholds: Thresholds | None = None,
) -> Refined:
    """Carry out only those runs of a grid that lie along boundaries between learners.

    Args:
        grid: Tables of a grid (`birthmark.sweeps.cells`); both axes are in its product.
        x: Dotted key of the horizontal axis.
        y: Of the vertical axis.
        carry_out: Carries runs out and gives the store that has them.
        step: Every how many values of an axis are tried first.
        thresholds: Where the lines between learners are drawn.

    Returns:
        By the places of the values in the grid: the learner of the most replicas.

    Raises:
        SpecError: An axis is not in the product.
    """
    product = grid.get("grid", {}).get("product", {})
    for name in (x, y):
        if name not in product:
            raise SpecError(f"{name} is not in grid.product: name two keys of it")
    lines = thresholds or Thresholds()

    def look(points: list[Point]) -> dict[Point, str]:
        specs = {at: _specs_at(grid, x, y, at) for at in points}
        store = carry_out([spec for many in specs.values() for spec in many])
        return {at: _learner(store, many, lines) for at, many in specs.items()}

    size = (len(product[x]), len(product[y]))
    return refine(size, look, step=step)


def _specs_at(grid: Mapping[str, Any], x: str, y: str, at: Point) -> list[RunSpec]:
    product = dict(grid["grid"]["product"])
    product[x], product[y] = [product[x][at[0]]], [product[y][at[1]]]
    return list(
        Grid.from_tables({**grid, "grid": {**grid["grid"], "product": product}})
    )


def _learner(store: Store, specs: Sequence[RunSpec], lines: Thresholds) -> str:
    runs = []
    for spec in specs:
        records = store.records(spec.run_key, distributions=False)
        runs.append(Run(spec.run_key, spec, records))
    names = Column("none", tuple(runs), lines).learners
    return str(Counter(names.tolist()).most_common(1)[0][0])
