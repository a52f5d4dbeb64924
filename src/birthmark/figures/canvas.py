"""What the painters share: figures, letters of panels, axes of widths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from birthmark.figures.palettes import Palette
from birthmark.shapes import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Scale = Literal["linear", "log"]

WIDTH = 7.0  # inches: two columns of a journal
_MOST = 1e12  # between the ends of a log axis
_LABEL_ROOM = 0.055  # of a figure's width, that the label of a width takes
_SHIFT = 0.012  # of the axis


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """A figure without any state of pyplot, in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.06, h_pad=0.05)
    return figure


def name_panel(axes: Axes, letter: str, text: str = "") -> None:
    """`(a) text` above a panel."""
    axes.set_title(f"({letter}) {text}".strip(), loc="left")


def choose_scale(widths: Array) -> Scale:
    """Log where neighbouring widths differ by factors rather than by steps."""
    if len(widths) < 2:
        return "linear"
    return "log" if np.median(widths[1:] / widths[:-1]) >= 1.4 else "linear"


def scale_widths(axes: Axes, widths: Array, scale: Scale) -> None:
    """A horizontal axis of widths; its ticks name as many as there is room for."""
    axes.set_xscale(scale)
    places = np.log(widths) if scale == "log" else widths.astype(float)
    grid = axes.get_gridspec()
    columns = grid.ncols if grid else 1
    room = _LABEL_ROOM * columns * max(float(np.ptp(places)), 1e-12)
    shown: list[int] = []
    for i in np.argsort(-places):
        if all(abs(places[i] - places[j]) >= room for j in shown):
            shown.append(int(i))
    axes.set_xticks(widths[shown], labels=[str(n) for n in widths[shown]])
    axes.set_xticks(widths, labels=[""] * len(widths), minor=True)
    axes.set_xlabel("width (units)")


def label_log(axes: Axes) -> None:
    """A vertical log axis; with plain numbers where it spans less than two decades.

    A loss on its way to infinity leaves it at the top.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    least = float(axes.dataLim.minposy)
    if axes.dataLim.y1 > least * _MOST:
        axes.set_ylim(least / 2, least * _MOST)
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high / low < 100:
        subs = (1, 2, 5) if high / low > 8 else (1, 1.5, 2, 3, 4, 5, 6, 8)
        axes.yaxis.set_major_locator(LogLocator(subs=subs))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())


def shift_widths(widths: Array, place: float, scale: Scale) -> Array:
    """Widths moved a little to the side, so that error bars do not hide each other."""
    if scale == "log":
        return np.asarray(widths * (widths[-1] / widths[0]) ** (_SHIFT * place))
    return np.asarray(widths + _SHIFT * place * np.ptp(widths))


def draw_error_bars(
    axes: Axes, x: Array, estimates: Array, *, colour: str, palette: Palette, label: str
) -> None:
    """Means with intervals; hollow where fewer than half of the replicas have a value.

    Args:
        axes: Where.
        x: [W].
        estimates: [W, 4] mean, low, high and the share of replicas with a value.
        colour: Of line and markers.
        palette: For the inside of hollow markers.
        label: Of the line in the legend.
    """
    mean, low, high, share = estimates.T
    known = np.isfinite(mean)
    axes.plot(x[known], mean[known], color=colour, label=label)
    spread = np.nan_to_num(np.stack([mean - low, high - mean]))
    axes.errorbar(
        x[known],
        mean[known],
        yerr=spread[:, known].clip(min=0),
        fmt="none",
        ecolor=colour,
        elinewidth=0.9,
        capsize=2,
    )
    for full in (True, False):
        use = known & ((share >= 0.5) == full)
        axes.plot(
            x[use],
            mean[use],
            "o",
            markersize=4,
            color=colour,
            markerfacecolor=colour if full else palette.paper,
        )
