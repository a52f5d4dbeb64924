"""Phase diagrams over any two axes: what the networks of a store become."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from birthmark.analysis.axes import Axis, Value, find_field, order_values, unify_fields
from birthmark.analysis.columns import Column
from birthmark.analysis.regimes import LEARNERS
from birthmark.analysis.studies import Run
from birthmark.analysis.surveys import read_survey
from birthmark.analysis.thresholds import Thresholds
from birthmark.errors import SpecError, StoreError
from birthmark.shapes import Array

if TYPE_CHECKING:
    from birthmark.store import Store

LEARNER = "learner"
OF_TRANSITIONS = (
    "min_train_epoch",
    "min_test_epoch",
    "divergence_epoch",
    "min_train_loss",
    "min_test_loss",
    "final_train_loss",
    "reached_epoch",
)


@dataclass(frozen=True)
class Phases:
    """What networks become over two axes.

    Attributes:
        x: The horizontal axis.
        y: The vertical axis.
        colour: `learner`, a transition, or a recorded variable at its last epoch.
        shares: Of the replicas at each place, in the order of LEARNERS, [Y, X, 4]; NaN
            where no run is.
        values: The mean of the colour over replicas, [Y, X]; NaN likewise.
        replicas: How many, [Y, X].
        left_out: Runs that differ in other fields from those shown.
    """

    x: Axis
    y: Axis
    colour: str
    shares: Array
    values: Array
    replicas: Array
    left_out: int

    @property
    def majority(self) -> Array:
        """The learner of the most replicas, place in LEARNERS, [Y, X]; -1: no run."""
        none = self.replicas == 0
        return np.where(none, -1, np.nan_to_num(self.shares).argmax(axis=-1))


def read_phases(
    store: Store,
    x: str,
    y: str,
    *,
    colour: str = LEARNER,
    layer: str | None = None,
    thresholds: Thresholds | None = None,
) -> Phases:
    """The phase diagram of what is in a store.

    Runs that differ in other fields too are not mixed: the largest group of those that
    do not is shown, and how many are left out is said.

    Args:
        store: Any; runs that are not done count with what they have.
        x: A field, as `widths`, `lr` or `training.lr`.
        y: Another one.
        colour: See `Phases`.
        layer: Of a variable that is recorded by layer; the last hidden one unless said.
        thresholds: Where the lines between learners are drawn.

    Raises:
        SpecError: A field is none in which these runs differ, or the colour is none.
        StoreError: There are no runs.
    """
    lines = thresholds or Thresholds()
    runs = read_survey(store, lines).runs
    if not runs:
        raise StoreError(f"{store.path} holds no records yet: carry out a sweep first")
    fields = unify_fields([run.fields for run in runs])
    names = sorted({name for one in fields for name in one})
    x, y = find_field(x, names), find_field(y, names)
    if x == y:
        raise SpecError(f"both axes are {x}: name two fields")
    group = _largest_group(fields, (x, y))
    cells: dict[tuple[Value, Value], list[Run]] = {}
    for number in group:
        at = fields[number].get(x, "none"), fields[number].get(y, "none")
        cells.setdefault(at, []).append(runs[number])
    axes = [
        Axis(name, order_values([at[n] for at in cells]))
        for n, name in enumerate((x, y))
    ]
    shape = (len(axes[1].values), len(axes[0].values))
    shares = np.full((*shape, len(LEARNERS)), np.nan)
    values, replicas = np.full(shape, np.nan), np.zeros(shape, dtype=int)
    for at, members in cells.items():
        place = axes[1].values.index(at[1]), axes[0].values.index(at[0])
        column = Column(at[0], tuple(members), lines)
        replicas[place] = column.num_replicas
        shares[place] = [np.mean(column.learners == one) for one in LEARNERS]
        if colour != LEARNER:
            values[place] = _mean(_colour(column, colour, layer))
    left_out = len(runs) - len(group)
    return Phases(axes[0], axes[1], colour, shares, values, replicas, left_out)


def _largest_group(
    fields: Sequence[Mapping[str, Value]], free: tuple[str, ...]
) -> list[int]:
    groups: dict[str, list[int]] = {}
    for place, one in enumerate(fields):
        rest = {name: value for name, value in one.items() if name not in free}
        groups.setdefault(json.dumps(rest, sort_keys=True), []).append(place)
    return max(groups.values(), key=len)


def _colour(column: Column, colour: str, layer: str | None) -> Array:
    if colour in OF_TRANSITIONS:
        return column.joined(colour)
    records = column.runs[0].arrays
    if colour not in records:
        known = [*OF_TRANSITIONS, *map(str, records.data_vars)]
        raise SpecError(f"unknown colour {colour!r}: there are {', '.join(known)}")
    by_layer = "layer" in records[colour].dims
    return column.final(colour, (layer or column.layer) if by_layer else None)


def _mean(values_R: Array) -> float:
    known = values_R[np.isfinite(values_R)]
    return float(known.mean()) if len(known) else float("nan")
