"""Causal tests on a user's model: layers put back, and the line from the start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from birthmark.figures.canvas import new_figure
from birthmark.figures.drawings import Drawing
from birthmark.figures.palettes import Palette
from birthmark.shapes import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from birthmark.interventions import Line, Rewind


def draw_rewind(found: Rewind, *, metric: str = "loss") -> Drawing:
    """What `bm.rewind` found: a point a layer, between the end and its re-draws.

    Args:
        found: The result.
        metric: What was evaluated, for the axis.
    """
    data = {
        "layer": np.array([one.name for one in found.layers]),
        "rewound": np.array([one.value for one in found.layers]),
        "redrawn_low": np.array([min(one.redrawn) for one in found.layers]),
        "redrawn_high": np.array([max(one.redrawn) for one in found.layers]),
        "end": np.array(found.end),
        "start": np.array(found.start),
        "metric": np.array(metric),
    }
    draws = len(found.layers[0].redrawn)
    caption = (
        f"{found.headline} Points: the {metric} with one layer at its start; bars: "
        f"with that layer drawn anew, {draws} draws, lowest to highest. Line: the "
        "model as it is; dashed: all layers at their start."
    )
    title = "One layer at a time back to its start"
    return Drawing("rewind", 0, title, caption, data, paint_rewind)


def draw_line(found: Line, *, metric: str = "loss") -> Drawing:
    """What `bm.interpolate` found: the way from the start, and a random one.

    Args:
        found: The result.
        metric: What was evaluated, for the axis.
    """
    data = {
        "share": found.alphas,
        "value": found.values,
        "random": found.random,
        "metric": np.array(metric),
    }
    caption = (
        f"{found.headline} Dotted: the straight line between both ends, above which a "
        "barrier rises. Dashed: the same moves made by other weights."
    )
    title = "On the straight line from the start"
    return Drawing("interpolation", 0, title, caption, data, paint_line)


def paint_rewind(data: Mapping[str, Array], palette: Palette) -> Figure:
    """One row a layer, the first on top."""
    names = [str(name) for name in data["layer"]]
    figure = new_figure(1.1 + 0.24 * len(names), width=6.0)
    axes = figure.subplots()
    rows = np.arange(len(names))
    axes.hlines(
        rows,
        data["redrawn_low"],
        data["redrawn_high"],
        color=palette.faint,
        linewidth=5,
        alpha=0.6,
        label="drawn anew",
    )
    for end in ("redrawn_low", "redrawn_high"):  # seen where draws are alike, too
        axes.plot(data[end], rows, "|", color=palette.faint, markersize=7, zorder=1)
    axes.plot(data["rewound"], rows, "o", color=palette.train, label="at its start")
    axes.axvline(float(data["end"]), color=palette.ink, linewidth=0.8, label="as it is")
    axes.axvline(
        float(data["start"]),
        color=palette.ink,
        linewidth=0.8,
        linestyle="--",
        label="all at their start",
    )
    axes.set_yticks(rows, labels=names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(str(data["metric"]))
    figure.legend(loc="outside upper center", ncols=4)
    return figure


def paint_line(data: Mapping[str, Array], palette: Palette) -> Figure:
    """One panel over the share of the way."""
    figure = new_figure(3.0, width=5.0)
    axes = figure.subplots()
    share, value = data["share"], data["value"]
    axes.plot(share, value, "o-", markersize=3, color=palette.train, label="this way")
    axes.plot(
        share,
        data["random"],
        "--",
        color=palette.test,
        label="the same moves, shuffled",
    )
    ends = [0, -1]
    axes.plot(
        share[ends], value[ends], ":", color=palette.ink, label="between its ends"
    )
    axes.set_xlabel("share of the way (0: the start, 1: the model)")
    axes.set_ylabel(str(data["metric"]))
    axes.legend(loc="best")
    return figure
