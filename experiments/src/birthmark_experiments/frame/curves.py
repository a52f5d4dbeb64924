"""Curves over replicas: mean, interval, a colour and a dash for each start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from birthmark.figures import Palette, choose_style
from birthmark.shapes import Array
from birthmark.statistics import summarize_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
        known = np.isfinite(found.mean)
        axes.plot(x[known], found.mean[known], label=name, **style)
        axes.fill_between(
            x[known],
            found.low[known],
            found.high[known],
            color=style["color"],
            alpha=0.2,
            linewidth=0,
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
    rows = np.arange(len(names)) + y
    spread = np.nan_to_num(np.stack([found.mean - found.low, found.high - found.mean]))
    axes.errorbar(
        found.mean,
        rows,
        xerr=spread.clip(min=0),
        fmt=marker,
        markersize=4,
        color=colour,
        elinewidth=1,
        capsize=2,
        label=label or None,
    )
    axes.set_yticks(range(len(names)), labels=list(names))
    axes.set_ylim(len(names) - 0.5, -0.5)
