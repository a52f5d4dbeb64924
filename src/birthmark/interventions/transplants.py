"""Layers of one training in the network of another: what does it understand of them?

Layers themselves, or their moves from the start: the deviation of one run on the start
of the other (cf. Neyshabur, Sedghi & Zhang, arXiv 2008.11687).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from birthmark.errors import WeightsError
from birthmark.interventions.models import Bench, Evaluate
from birthmark.interventions.rewinding import shuffle
from birthmark.interventions.texts import Replaced, Result, Table, table_of_layers
from birthmark.measurements import Source


@dataclass(frozen=True)
class Transplant(Result):
    """What becomes of a model with one layer at a time of another, and with all."""

    end: float  # the number of the model as it is
    whole: float  # ... with all layers of the donor, or all its moves
    layers: tuple[Replaced, ...]  # with the donor's layer, and with that drawn anew
    moves: bool  # whether moves from the start were transplanted
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """Whether the donor's layers are understood."""
        what = "moves of the donor on its own start" if self.moves else "donor's layers"
        best = min(self.layers, key=lambda one: one.value)
        worst = max(self.layers, key=lambda one: one.value)
        return (
            f"{self.end:.3g} as it is, {self.whole:.3g} with all {what}; one layer "
            f"at a time from {best.value:.3g} ({best.name}) to {worst.value:.3g} "
            f"({worst.name})."
        )

    def table(self) -> Table:
        """One line a layer, in the order of the model."""
        return table_of_layers(self.layers, self.end, "transplanted")


def transplant(
    model: nn.Module,
    donor: Source,
    evaluate: Evaluate,
    *,
    starts: tuple[Source, Source] | None = None,
    layers: Sequence[str] | None = None,
    redraws: int = 3,
    batches: Iterable[Any] | None = None,
    seed: int = 0,
) -> Transplant:
    """Put one layer at a time of another network into a model, and evaluate.

    Args:
        model: It ends as it was given.
        donor: Weights of another training of the same architecture.
        evaluate: Takes the model and gives a number, the smaller the better.
        starts: Initial weights of the model and of the donor; with them moves are
            transplanted: start of the model + (donor - its own start).
        layers: Beginnings of names that are transplanted together.
        redraws: How often the transplant is put in with its numbers in another order.
        batches: Inputs to compute the running statistics of batch norms from.
        seed: Of the re-draws.

    Raises:
        WeightsError: Something is of another architecture, or no tensor begins so.
    """
    if starts is not None and len(starts) != 2:
        raise WeightsError("starts are two: of the model, and of the donor")
    bench = Bench(model, evaluate, batches)
    given = {n: one.values for n, one in bench.match(donor, "the donor").items()}
    base = {n: torch.zeros_like(values) for n, values in given.items()}
    if starts is not None:
        own = bench.match(starts[0], "the start of the model")
        other = bench.match(starts[1], "the start of the donor")
        base = {n: one.values for n, one in own.items()}
        given = {n: values - other[n].values for n, values in given.items()}
    generator = torch.Generator().manual_seed(seed)
    found = []
    for layer, names in bench.groups(layers).items():
        drawn = [
            bench.try_at({n: base[n] + shuffle(given[n], generator) for n in names})
            for _ in range(max(1, redraws))
        ]
        value = bench.try_at({n: base[n] + given[n] for n in names})
        count = sum(bench.current[n].size for n in names)
        found.append(Replaced(layer, count, value, tuple(drawn)))
    whole = bench.try_at({n: base[n] + given[n] for n in given})
    end = bench.try_at({})
    return Transplant(end, whole, tuple(found), starts is not None, bench.notes)
