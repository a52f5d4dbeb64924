"""A figure as finished numbers, words, and the way to paint them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from birthmark.figures.palettes import PALETTES, Palette, styled
from birthmark.shapes import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Theme = Literal["light", "dark"]
Kind = Literal["png", "svg", "pdf"]
Painter = Callable[[Mapping[str, Array], Palette], "Figure"]

_DPI = {"png": 300, "svg": 150, "pdf": 300}  # of what is rasterized
# nothing that changes from one rendering to the next
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure, drawn from the runs of a store or from a comparison."""

    name: str  # file stem, such as `figure1-mark-hasyv2-512`
    number: int  # of the figure in the paper, 1 ... 6; 0: it is not in the paper
    title: str  # one line
    caption: str  # plain text: what is shown, intervals, null model
    data: dict[str, Array] = field(repr=False)  # everything that is drawn
    paint: Painter = field(repr=False)  # from `data` alone
    protocol: str = ""  # what was trained and how, with the run keys
    family: str = ""  # name of the family whose runs are shown
    _drawn: dict[Theme, Figure] = field(default_factory=dict, repr=False)

    @property
    def text(self) -> str:
        """Caption and protocol together, for where the figure stands alone."""
        return f"{self.caption} {self.protocol}".strip()

    def draw(self, theme: Theme = "light") -> Figure:
        """The figure, laid out; its background is left to the saver."""
        with styled(PALETTES[theme]):
            figure = self.paint(self.data, PALETTES[theme])
            for axes in figure.axes:  # ticks that are made late have these colours too
                axes.tick_params(which="both", colors=PALETTES[theme].ink)
            engine = figure.get_layout_engine()
            if engine is not None:
                engine.execute(figure)
            figure.set_layout_engine(None)  # with one, each file would be drawn twice
            for axes in figure.axes:
                # the solver's last digits depend on where its numbers lie in memory
                left, bottom, width, height = (
                    round(float(side), 6)
                    for side in axes.get_position(original=True).bounds
                )
                axes.set_position((left, bottom, width, height))
        return figure

    def render(
        self,
        kind: Kind,
        theme: Theme = "light",
        *,
        opaque: bool = False,
        dpi: int | None = None,
    ) -> bytes:
        """The figure as a file: the same bytes each time; laid out once a theme.

        Args:
            kind: What file.
            theme: Whether ink is dark or light.
            opaque: With the background of the theme instead of a transparent one.
            dpi: Dots an inch of what is rasterized; 300, and 150 in SVG, unless given.
        """
        if theme not in self._drawn:
            self._drawn[theme] = self.draw(theme)
        palette, buffer = PALETTES[theme], io.BytesIO()
        with styled(palette):
            self._drawn[theme].savefig(
                buffer,
                format=kind,
                dpi=dpi or _DPI[kind],
                facecolor=palette.paper if opaque else "none",
                metadata=_METADATA[kind],
            )
        return buffer.getvalue()
