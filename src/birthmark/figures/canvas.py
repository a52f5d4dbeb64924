"""What the painters share: figures, letters of panels, axes of any field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from birthmark.analysis import Axis
from birthmark.figures.palettes import Palette
from birthmark.shapes import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis as MatplotlibAxis
    from matplotlib.figure import Figure

WIDTH = 7.0  # inches: two columns of a journal
_MOST = 1e12  # between the ends of a log axis
_BESIDE = 0.65  # inches of a panel's share of the width that its labels take
_LETTER = 0.066  # inches, of a label at a tick
_SHIFT = 0.012  # of the axis
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


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


def axis_data(axis: Axis) -> dict[str, Array]:
    """An axis as arrays: values, their places and texts, and its label."""
    is_number = axis.is_number
    texts = np.array([axis.text(value) for value in axis.values])
    return {
        "axis": np.array(axis.values, dtype=float) if is_number else texts,
        "axis_places": axis.places,
        "axis_texts": texts,
        "axis_label": np.array(axis.label),
        "axis_is_number": np.array(is_number),
    }


def tick_axis(axes: Axes, data: Mapping[str, Array]) -> None:
    """A horizontal axis of values at their places; as many named as there is room for.

    Words are turned where they would not fit side by side.
    """
    places, texts = data["axis_places"], [str(text) for text in data["axis_texts"]]
    grid = axes.get_gridspec()
    inches = WIDTH / (grid.ncols if grid else 1) - _BESIDE
    longest = max(map(len, texts)) + 1
    is_number = bool(data["axis_is_number"])
    turned = not is_number and longest * _LETTER * len(texts) > inches
    span = max(float(np.ptp(places)), 1e-12)
    room = span * _LETTER * (1.5 if turned else longest) / inches
    shown: list[int] = []
    for i in np.argsort(-places):
        if all(abs(places[i] - places[j]) >= room for j in shown):
            shown.append(int(i))
    axes.set_xticks(places[shown], labels=[texts[i] for i in shown])
    axes.set_xticks(places, minor=True)
    axes.tick_params(which="minor", labelbottom=False)
    if turned:
        axes.tick_params("x", rotation=30)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    edges = find_edges(places)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel(str(data["axis_label"]))


def name_powers(axis: MatplotlibAxis) -> None:
    """Powers of ten at the ticks of a log axis, in letters: `10⁻²`.

    Between them those of 2 and 5 alone: eight a decade took a fifth of all drawing.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(numticks=7))
    axis.set_minor_locator(LogLocator(subs=(2, 5), numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _say_power(value)))
    axis.set_minor_formatter(NullFormatter())


def _say_power(value: float) -> str:
    power = round(float(np.log10(value))) if value > 0 else 0
    return f"10{str(power).translate(_RAISED)}"


def find_edges(places: Array) -> Array:
    """Borders half-way between places, and as far beyond the first and the last."""
    if len(places) == 1:
        return np.array([places[0] - 0.5, places[0] + 0.5])
    middle = (places[1:] + places[:-1]) / 2
    ends = 2 * places[0] - middle[0], 2 * places[-1] - middle[-1]
    return np.concatenate([ends[:1], middle, ends[1:]])


def label_log(axes: Axes, values: Array | None = None) -> None:
    """A vertical log axis; with plain numbers where it spans less than two decades.

    A loss on its way to infinity leaves it at the top.

    Args:
        axes: Of which the vertical axis is meant.
        values: All that is drawn but intervals, of which those that reach further than
            ten times leave the axis; unless given, everything is shown.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    least = float(axes.dataLim.minposy)
    if axes.dataLim.y1 > least * _MOST:
        axes.set_ylim(least / 2, least * _MOST)
    axes.set_yscale("log")
    name_powers(axes.yaxis)
    every = np.empty(0) if values is None else values
    known = every[np.isfinite(every) & (every > 0)]
    if len(known) and least < known.min() / 10:
        axes.set_ylim(bottom=known.min() / 4)
    if len(known) and axes.dataLim.y1 > known.max() * 10:
        axes.set_ylim(top=known.max() * 4)
    low, high = axes.get_ylim()
    if high / low < 100:
        subs = (1, 2, 5) if high / low > 8 else (1, 1.5, 2, 3, 4, 5, 6, 8)
        axes.yaxis.set_major_locator(LogLocator(subs=subs))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="y", which="minor", labelleft=False)


def shift_places(places: Array, by: float) -> Array:
    """Places moved a little to the side, so that error bars do not hide each other."""
    edges = find_edges(places)
    return np.asarray(places + _SHIFT * by * (edges[-1] - edges[0]))


def draw_error_bars(
    axes: Axes,
    x: Array,
    estimates: Array,
    *,
    colour: str,
    palette: Palette,
    label: str,
    joined: bool = True,
) -> None:
    """Means with intervals; hollow where fewer than half of the replicas have a value.

    Args:
        axes: Where.
        x: [A].
        estimates: [A, 4] mean, low, high and the share of replicas with a value.
        colour: Of line and markers.
        palette: For the inside of hollow markers.
        label: Of the line in the legend.
        joined: With a line through the means; without, between words there is none.
    """
    mean, low, high, share = estimates.T
    known = np.isfinite(mean)
    style = "-" if joined else "none"
    marker = "" if joined else "o"
    axes.plot(
        x[known],
        mean[known],
        linestyle=style,
        marker=marker,
        markersize=4,
        color=colour,
        label=label,
    )
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
