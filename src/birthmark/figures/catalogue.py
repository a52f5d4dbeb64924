"""Which figure is drawn by what: those of the paper, and those of any sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from birthmark.analysis import (
    Family,
    NothingFoundError,
    Survey,
    Thresholds,
    read_survey,
)
from birthmark.errors import SpecError
from birthmark.figures.drawings import Drawing
from birthmark.figures.evolution import draw_evolution
from birthmark.figures.joint import draw_joint
from birthmark.figures.layers import draw_layers
from birthmark.figures.mark import draw_marks
from birthmark.figures.moments import draw_moments
from birthmark.figures.regimes import draw_regimes
from birthmark.figures.scaling import draw_scaling
from birthmark.figures.trends import draw_trends
from birthmark.store import Store

LEAST_EPOCHS = 2  # that a run must have finished


@dataclass(frozen=True)
class FigureKind:
    """A figure that is drawn of every family whose runs allow it."""

    name: str  # `figure1-mark` where the paper, arXiv 2012.02550, has it
    draw: Callable[[Family], list[Drawing]]  # NothingFoundError says what is missing
    is_general: bool = False  # drawn of runs in a user's own loop too


FIGURES: dict[str, FigureKind] = {
    kind.name: kind
    for kind in (
        FigureKind("figure1-mark", draw_marks),
        FigureKind("figure2-regimes", draw_regimes),
        FigureKind("trends", draw_trends, is_general=True),
        FigureKind("layers", draw_layers, is_general=True),
        FigureKind("figure3-joint", draw_joint),
        FigureKind("figure4-moments", draw_moments),
        FigureKind("figure5-evolution", draw_evolution),
        FigureKind("figure6-scaling", draw_scaling),
    )
}


def register_figure(
    name: str, draw: Callable[[Family], list[Drawing]], *, is_general: bool = False
) -> None:
    """Put a figure of your own into the table: `figures` and `report` draw it too.

    Args:
        name: Of its files, which end with that of the family: `my-figure-digits.pdf`.
        draw: Takes a `Family`; raises `NothingFoundError` where its runs do not allow
            the figure, and says what they lack.
        is_general: It is also drawn of runs in a user's own loop, which may have no
            train loss.

    Raises:
        SpecError: The name is taken.
    """
    if name in FIGURES and FIGURES[name].draw is not draw:
        raise SpecError(f"there is a figure {name!r} already: give another name")
    FIGURES[name] = FigureKind(name, draw, is_general)


@dataclass(frozen=True)
class Drawn:
    """All figures of a survey."""

    drawings: tuple[Drawing, ...]
    missing: dict[str, str]  # name, such as `figure1-mark-digits`, to why not


def draw_survey(survey: Survey) -> Drawn:
    """All figures that the runs of a store allow, made once for a survey.

    Runs are drawn together where they differ along one axis, in a series, in mark,
    seed, replicas and records only; each such family has its own drawings, the family
    with the most runs first.

    Raises:
        StoreError: A fact about the data of a run is missing.
        SpecError: The axis or the series asked for is no field of the runs.
    """
    return survey.remember("drawings", lambda: _draw(survey))


def find_drawings(
    store: Store,
    thresholds: Thresholds | None = None,
    *,
    axis: str | None = None,
    series: str | None = None,
) -> list[Drawing]:
    """The drawings of `draw_survey`, of a store that is read for them."""
    survey = read_survey(store, thresholds, axis=axis, series=series)
    return list(draw_survey(survey).drawings)


def _draw(survey: Survey) -> Drawn:
    drawings: list[Drawing] = []
    missing: dict[str, str] = {}
    for family in survey.families:
        for name, found in _draw_family(family):
            if isinstance(found, str):
                missing[name] = found
            else:
                drawings += found
    if not survey.families:
        reason = f"no run has finished {LEAST_EPOCHS} epochs"
        missing["figures"] = f"All figures are left out: {reason}."
    return Drawn(tuple(drawings), missing)


def _draw_family(family: Family) -> Iterator[tuple[str, list[Drawing] | str]]:
    for kind in FIGURES.values():
        name = f"{kind.name}-{family.name}"
        if not (family.is_judged or kind.is_general):
            continue
        try:
            yield name, kind.draw(family)
        except NothingFoundError as reason:
            yield name, f"{kind.name} of {family.name} is left out: {reason}."
