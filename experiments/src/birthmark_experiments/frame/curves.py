"""Curves over replicas: mean, interval, a colour and a dash for each start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from birthmark.figures import Palette, choose_style
from birthmark.shapes import Array
from birthmark.statistics import summarize_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
else:  # for annotations: matplotlib is loaded where something is drawn
    Axes = Figure = Any

Data = Mapping[str, Array]  # everything that is drawn


def paint_curves(
    axes: Axes,
    x: Array,
    values_GXR: Array,
    names: Sequence[str],
    palette: Palette,
    scale: Literal["linear", "log"] = "linear",
) -> None:
    """One line a group with Student's 95 % interval of the mean (geometric if log)."""
    for place, (name, values_XR) in enumerate(zip(names, values_GXR, strict=True)):
        style = choose_style(place, palette)
        found = summarize_curves(values_XR, scale)
        paint_band(axes, x, found.mean, found.low, found.high, label=name, **style)


def paint_band(
    axes: Axes, x: Array, mean: Array, low: Array, high: Array, **style: Any
) -> None:
    """One line with its interval, where there is a mean; the style has a colour."""
    known, colour = np.isfinite(mean), style["color"]
    axes.plot(x[known], mean[known], **style)
    band = low[known], high[known]
    axes.fill_between(x[known], *band, color=colour, alpha=0.2, linewidth=0)


def paint_intervals(
    axes: Axes,
    places: Array,
    values_3G: Array,
    *,
    is_upright: bool = False,
    **style: Any,
) -> None:
    """Marks with bars, where there is a mean.

    Args:
        axes: Where.
        places: Along the other axis.
        values_3G: Mean, low and high end.
        is_upright: Whether the bars are vertical.
        style: As of `Axes.errorbar`.
    """
    known = np.isfinite(values_3G[0])
    mean, low, high = values_3G[:, known]
    spread = np.nan_to_num(np.stack([mean - low, high - mean])).clip(min=0)
    x, y = (places[known], mean) if is_upright else (mean, places[known])
    style = {"markersize": 4, "elinewidth": 1, "capsize": 2} | style
    axes.errorbar(x, y, **style, **{"yerr" if is_upright else "xerr": spread})


def paint_replicas(
    axes: Axes, x: Array, values_XR: Array, *, label: str, **style: Any
) -> None:
    """A line a replica, all of one style, through the points that it has."""
    style.setdefault("linewidth", 0.9)
    for r, values_X in enumerate(values_XR.T):
        known = np.isfinite(values_X)
        name = label if r == 0 else None
        axes.plot(x[known], values_X[known], label=name, **style)


def paint_groups(
    axes: Axes,
    values_SGR: Array,
    names: Sequence[str],
    palette: Palette,
    labels: Sequence[str],
    step: float,
) -> None:
    """Rows of `paint_points` for several quantities, one below the other by a step."""
    for place, (values_GR, label) in enumerate(zip(values_SGR, labels, strict=True)):
        paint_points(
            axes,
            values_GR,
            names,
            palette,
            y=step * (place - (len(labels) - 1) / 2),
            marker="os^D"[place],
            colour=palette.lines[place],
            label=label,
        )


def paint_points(
    axes: Axes,
    values_GR: Array,
    names: Sequence[str],
    palette: Palette,
    *,
    y: float = 0.0,
    marker: str = "o",
    colour: str = "",
    label: str = "",
) -> None:
    """One row a group: its mean and interval over replicas, the first at the top.

    Args:
        axes: Where.
        values_GR: One value a replica.
        names: Of the groups.
        palette: For the colour unless given.
        y: How far below its row a mark lies.
        marker: Of the means.
        colour: Of marks and intervals.
        label: In the legend.
    """
    colour = colour or palette.lines[0]
    found = summarize_curves(values_GR)
    values_3G = np.stack([found.mean, found.low, found.high])
    style: dict[str, Any] = {"fmt": marker, "color": colour, "label": label or None}
    paint_intervals(axes, np.arange(len(names)) + y, values_3G, **style)
    axes.set_yticks(range(len(names)), labels=list(names))
    axes.set_ylim(len(names) - 0.5, -0.5)
