"""What a report shows of one family: a glance, and findings beside their pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from birthmark.analysis import (
    LEARNERS,
    Family,
    Fates,
    Overview,
    family_findings,
    look_at,
)
from birthmark.figures import Drawing
from birthmark.report.pictures import Picture, embed_matrix
from birthmark.shapes import Finding

_ORDER = ("trends", "figure1", "layers", "figure6", "figure5", "figure2")
_HEIGHT = 100.0  # of a stack of bars
_STEP = 30.0  # between bars
_LABELS = 14  # at most, below the bars
_KINDS = (  # of learners, from the bottom of a bar up
    ("strong", "train loss ends at most {strong:.2g}"),
    ("undecided", "reached {learned:.2g}, not strong"),
    ("weak", "never reached {learned:.2g}"),
    ("unstable", "reached {learned:.2g}, then lost it"),
)


@dataclass(frozen=True)
class Card:
    """A picture with the findings that it shows."""

    picture: Picture
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Bar:
    """A part of a stacked bar, in the units of its drawing."""

    kind: str  # of learner
    x: float
    y: float
    height: float


@dataclass(frozen=True)
class Bars:
    """The fates of one line of a family, as stacked bars."""

    label: str
    said: str  # the same in words
    bars: tuple[Bar, ...]
    texts: tuple[str, ...]  # under each bar; '' where there is no room
    width: float


@dataclass(frozen=True)
class Mark:
    """The marked matrix at one epoch."""

    epoch: int
    picture: str  # data URI
    retention: float


@dataclass(frozen=True)
class Chapter:
    """One family."""

    name: str  # for addresses within the page
    said: str  # what sets it apart; '' for one alone
    overview: Overview
    bars: tuple[Bars, ...]
    kinds: tuple[tuple[str, str], ...]  # of learners in the bars, with their meaning
    marks: tuple[Mark, ...]  # at the start and at the end; none without a mark
    findings: tuple[Finding, ...]  # without a picture
    cards: tuple[Card, ...]


def write_chapter(
    family: Family, drawings: Sequence[Drawing], pictures: Mapping[str, Picture]
) -> Chapter:
    """All that a report shows of a family: its drawings, and their pictures by name."""
    overview = look_at(family)
    bars = tuple(_stack(fates) for fates in overview.fates)
    found = family_findings(family)
    cards = []
    for drawing in sorted(drawings, key=_place):
        beside = tuple(
            one for one in found if one.figure and drawing.name.startswith(one.figure)
        )
        found = [one for one in found if one not in beside]
        cards.append(Card(pictures[drawing.name], beside))
    return Chapter(
        name=family.name,
        said=family.said,
        overview=overview,
        bars=bars,
        kinds=_find_kinds(family, bars),
        marks=_marks(drawings),
        findings=tuple(found),
        cards=tuple(cards),
    )


def _place(drawing: Drawing) -> int:
    starts = [drawing.name.startswith(start) for start in _ORDER]
    return starts.index(True) if any(starts) else len(_ORDER)


def _marks(drawings: Sequence[Drawing]) -> tuple[Mark, ...]:
    for drawing in drawings:
        if drawing.number == 1:
            data = drawing.data
            pooled = np.isfinite(data["pooled_retention"]).all()
            kept = data["pooled_retention" if pooled else "retention"]
            return tuple(
                Mark(
                    int(data["picture_epochs"][i]),
                    embed_matrix(data["pictures"][i], float(data["bound"])),
                    float(kept[i]),
                )
                for i in (0, -1)
            )
    return ()


def _find_kinds(family: Family, bars: Sequence[Bars]) -> tuple[tuple[str, str], ...]:
    drawn = {bar.kind for one in bars for bar in one.bars}
    if not drawn:
        return ()
    strong, learned, _ = family.losses
    return tuple(
        (kind, meaning.format(strong=strong, learned=learned))
        for kind, meaning in _KINDS
        if kind in drawn
    )


def _stack(fates: Fates) -> Bars:
    bars, said, texts = [], [], []
    every = -(-len(fates.along) // _LABELS)
    for place, fate in enumerate(fates.along):
        top, total = _HEIGHT, max(sum(fate.counts), 1)
        for kind, _ in _KINDS:
            count = fate.counts[LEARNERS.index(kind)]
            if count:
                height = _HEIGHT * count / total
                top -= height
                bars.append(Bar(kind, place * _STEP, top, height))
        pairs = zip(LEARNERS, fate.counts, strict=True)
        counts = ", ".join(f"{n} {name}" for name, n in pairs if n)
        said.append(f"{fate.text}: {counts}")
        texts.append(fate.text if place % every == 0 else "")
    width = len(fates.along) * _STEP
    return Bars(fates.label, "; ".join(said), tuple(bars), tuple(texts), width)
