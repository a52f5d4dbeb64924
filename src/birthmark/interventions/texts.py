"""Results of interventions as text, and as a fragment of HTML for notebooks."""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from birthmark.wording import align, write_html_table

Table = tuple[list[str], list[list[str]]]


class Result:
    """What every intervention gives: one sentence, a table, and what limits both."""

    notes: tuple[str, ...]

    @property
    def headline(self) -> str:
        """What was found, in one sentence."""
        raise NotImplementedError

    def table(self) -> Table:
        """Header and rows as text."""
        raise NotImplementedError

    def __str__(self) -> str:
        notes = [f"Note: {note}" for note in self.notes]
        return "\n".join([self.headline, "", *align(*self.table()), *notes])

    def _repr_html_(self) -> str:
        said = (f"<p>{html.escape(x)}</p>" for x in (self.headline, *self.notes))
        return "".join(said) + write_html_table(*self.table())


@dataclass(frozen=True)
class Replaced:
    """A model with one layer replaced, and with that drawn anew."""

    name: str
    count: int  # numbers in the layer
    value: float
    redrawn: tuple[float, ...]  # with the same numbers in another order, one a draw

    def share(self, end: float) -> float:
        """The harm over that of a re-draw: 0 none, 1 as much; NaN if that harms not."""
        harm = statistics.fmean(self.redrawn) - end
        return (self.value - end) / harm if harm > 0 else float("nan")


def table_of_layers(layers: Sequence[Replaced], end: float, what: str) -> Table:
    """One line a layer, in the order of the model."""
    rows = []
    for one in layers:
        share = one.share(end)
        rows.append(
            [
                one.name,
                f"{one.count:,}",
                f"{one.value:.4g}",
                f"{min(one.redrawn):.4g} to {max(one.redrawn):.4g}",
                f"{share:.2f}" if math.isfinite(share) else "",
            ]
        )
    return ["layer", "weights", what, "re-drawn", "share of a re-draw"], rows
