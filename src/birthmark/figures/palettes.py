"""Colours that colour-blind readers tell apart, on light and on dark paper."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Any

from birthmark.errors import SpecError

DENSITY = "cividis"
# each with more gaps than the one before: what lies below a line shows through it
DASHES: tuple[Any, ...] = (
    "-",
    (0, (7, 2)),
    (0, (5, 2, 1.5, 2)),
    (0, (3, 3)),
    (0, (1.5, 2.5)),
    (0, (1, 5)),
)
# closer, for lines that lie beside a dotted one
SHORT_DASHES: tuple[Any, ...] = (
    "-",
    (0, (6, 1.5)),
    (0, (4, 1.5, 1.2, 1.5)),
    (0, (2.5, 1.5)),
    (0, (1.2, 1.2)),
)


@dataclass(frozen=True)
class Palette:
    """The colours of a theme; lines are of Okabe and Ito (2008)."""

    ink: str
    faint: str  # grids, reference lines
    paper: str  # what the figure is expected to lie on
    train: str
    test: str
    divergence: str
    lines: tuple[str, ...]
    regions: tuple[str, str, str]  # low trainability, high trainability, untrainability
    signed: str  # colour map of signed values
    learners: tuple[str, str, str, str]  # strong, weak, unstable, undecided


# one colour a role, and none is plain black or white: a drawing is recoloured by them
PALETTES = {
    "light": Palette(
        ink="#1a1a1a",
        faint="#8a8a8a",
        paper="#fffffe",
        train="#0072B2",
        test="#D55E00",
        divergence="#000001",
        lines=("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"),
        regions=("#e3e3e3", "#cfe8f5", "#f9dccb"),
        signed="RdBu_r",
        learners=("#0072B3", "#b5b5b5", "#D55E01", "#dcdcdc"),
    ),
    "dark": Palette(
        ink="#e8e8e8",
        faint="#8f8f8f",
        paper="#16181c",
        train="#56B4E9",
        test="#E69F00",
        divergence="#fffffd",
        lines=("#56B4E9", "#E69F00", "#2fc79b", "#CC79A7", "#F0E442"),
        regions=("#33363b", "#17415a", "#5a3019"),
        signed="RdBu_r",
        learners=("#56B4E8", "#6b6f76", "#E69F01", "#44484e"),
    ),
}


def follow_theme(svg: bytes) -> bytes:
    """A drawing of the light theme that has the dark colours on a dark screen."""
    light, dark = (_colours(PALETTES[theme]) for theme in ("light", "dark"))
    told = dict(zip(light, dark, strict=True))
    places = {colour: b"--c%d" % i for i, colour in enumerate(told)}
    pattern = re.compile(b"|".join(map(re.escape, told)))
    body = pattern.sub(lambda found: b"var(%b)" % places[found[0]], svg)
    day = b";".join(b"%b:%b" % (places[colour], colour) for colour in told)
    night = b";".join(b"%b:%b" % (places[c], other) for c, other in told.items())
    style = (
        b"<style>:root{%b}@media screen and (prefers-color-scheme:dark){:root{%b}}"
        b"</style>" % (day, night)
    )
    return body.replace(b"<defs>", b"<defs>" + style, 1)


def _colours(palette: Palette) -> list[bytes]:
    every = (
        *(palette.ink, palette.faint, palette.paper, palette.divergence),
        *(*palette.lines, *palette.regions, *palette.learners),
    )
    return [colour.lower().encode() for colour in every]


def choose_style(place: int, palette: Palette) -> dict[str, Any]:
    """Colour and dash of the line at a place; no two of the first thirty are equal."""
    colours = (*palette.lines, palette.ink)
    return {
        "color": colours[place % len(colours)],
        "linestyle": DASHES[(place + place // len(colours)) % len(DASHES)],
    }


@contextmanager
def styled(palette: Palette) -> Iterator[None]:
    """The settings of matplotlib under which a figure is made and saved.

    They are the same for everybody: style sheets of the user, `text.usetex` and the
    backend that an environment variable names do not reach our figures.
    """
    matplotlib = _load_matplotlib()
    ink = palette.ink
    settings: Any = {
        # of few signs and no layout tables: a PDF embeds it in a fifth of the time;
        # the second ships with matplotlib and has the rest
        "font.family": ["Birthmark Sans", "DejaVu Sans"],
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
        "legend.frameon": False,
        "lines.linewidth": 1.3,
        "lines.dash_capstyle": "butt",
        "path.simplify_threshold": 0.3,
        "axes.linewidth": 0.7,
        "axes.titley": 1.0,  # where it comes to lie anyhow, found without measuring
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "text.color": ink,
        "axes.edgecolor": ink,
        "axes.labelcolor": ink,
        "axes.titlecolor": ink,
        "xtick.color": ink,
        "ytick.color": ink,
        "svg.fonttype": "path",
        "svg.hashsalt": "birthmark",
        "pdf.fonttype": 42,
        "mathtext.fontset": "dejavusans",
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        yield


@cache
def _load_matplotlib() -> Any:
    """Matplotlib with our font, also where MPLBACKEND is no backend that it knows.

    The font is DejaVu Sans 2.35 cut to Latin, Greek, Cyrillic, arrows and signs of
    mathematics, without hints and layout tables, under a name of its own.
    """
    named = None
    if "matplotlib" not in sys.modules:
        named = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
        from matplotlib.font_manager import fontManager
    except ValueError as error:  # it reads settings of the user when it is loaded
        raise SpecError(
            f"matplotlib cannot read its settings ({error}): mend or remove the file "
            "matplotlibrc, here or where MATPLOTLIBRC or MPLCONFIGDIR lead to"
        ) from error

    if named is not None:
        os.environ["MPLBACKEND"] = named
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = named
    with as_file(files("birthmark.figures") / "fonts" / "BirthmarkSans.ttf") as font:
        fontManager.addfont(str(font))
    return matplotlib
