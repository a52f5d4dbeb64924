"""Which figure of the paper is drawn by what, from which data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from birthmark.analysis import Thresholds
from birthmark.figures.drawings import Drawing
from birthmark.figures.evolution import draw_evolution
from birthmark.figures.families import (
    LEAST_EPOCHS,
    Family,
    NothingToDrawError,
    read_families,
)
from birthmark.figures.joint import draw_joint
from birthmark.figures.mark import draw_marks
from birthmark.figures.moments import draw_moments
from birthmark.figures.regimes import draw_regimes
from birthmark.figures.scaling import draw_scaling
from birthmark.store import Store


@dataclass(frozen=True)
class PaperFigure:
    """A figure of Jesus et al., arXiv 2012.02550."""

    number: int
    name: str
    draw: Callable[[Family], list[Drawing]]  # NothingToDrawError says what is missing


FIGURES = (
    PaperFigure(1, "mark", draw_marks),
    PaperFigure(2, "regimes", draw_regimes),
    PaperFigure(3, "joint", draw_joint),
    PaperFigure(4, "moments", draw_moments),
    PaperFigure(5, "evolution", draw_evolution),
    PaperFigure(6, "scaling", draw_scaling),
)


def find_drawings(store: Store, thresholds: Thresholds | None = None) -> list[Drawing]:
    """All drawings that the runs of a store allow, in the order of the paper.

    Runs are drawn together where they differ in width, mark, seed, replicas and records
    only; each such family has its own drawings, the family with the most runs first.

    Raises:
        StoreError: A run is damaged, or a fact about its data is missing.
    """
    return [
        drawing
        for _, found in _draw_all(store, thresholds)
        for drawing in (found if isinstance(found, list) else [])
    ]


def explain_missing(
    store: Store, thresholds: Thresholds | None = None
) -> dict[str, str]:
    """Why figures are not drawn: name, such as `figure1-mark-digits`, to sentence."""
    return {
        name: found
        for name, found in _draw_all(store, thresholds)
        if isinstance(found, str)
    }


def draw_family(family: Family) -> Iterator[tuple[str, list[Drawing] | str]]:
    """Each figure of the paper: its name, and its drawings or why there are none."""
    for figure in FIGURES:
        name = f"figure{figure.number}-{figure.name}-{family.name}"
        try:
            yield name, figure.draw(family)
        except NothingToDrawError as reason:
            title = f"Figure {figure.number} ({figure.name})"
            yield name, f"{title} of {family.name} is left out: {reason}."


def _draw_all(
    store: Store, thresholds: Thresholds | None
) -> Iterator[tuple[str, list[Drawing] | str]]:
    families = read_families(store, thresholds or Thresholds())
    for family in families:
        yield from draw_family(family)
    if not families:
        reason = f"no run has finished {LEAST_EPOCHS} epochs"
        yield "figures", f"All figures are left out: {reason}."
