"""The figure of the tests near the start: line, ball, and moved starts."""

from typing import Literal

import numpy as np
import xarray as xr

from birthmark.figures import Drawing, Palette, label_log, name_panel, new_figure
from birthmark.shapes import Array
from ..frame.curves import (
    Axes,
    Data,
    Figure,
    paint_curves,
    paint_intervals,
    stack_interval,
    take,
)

_HALVES = {"train_loss": "train", "test_loss": "test"}
_TESTS = {"line": "alpha", "ball": "radius", "moved_end": "move"}


def draw(results: xr.Dataset) -> Drawing:
    """Four panels; see the caption."""
    title = "Minima and the start"
    caption = (
        f"{title}. (a) Loss on the straight line from the start (0) to the end of "
        "training (1) and beyond. (b) Loss after training that was put back, after "
        "each step, into a ball around the start; its radius over the distance that "
        "free training goes. (c) Loss after training from a start that was moved by a "
        "random step; its length over that distance. (d) How far training goes from "
        "the moved start, and how far its end is from the first start. Lines and "
        "points: means (geometric for losses); bands and bars: Student's 95 % "
        f"interval, n = {results.sizes['replica']}. Protocol: "
        f"{results.attrs['protocol']}"
    )
    data = take(results, _TESTS.values())
    for test, dim in _TESTS.items():
        halves = [results[f"{test}_{half}"] for half in _HALVES]
        data[test] = np.stack([one.transpose(dim, "replica") for one in halves])
    ways = take(results, ("moved_way", "moved_from_start"), "move", "replica")
    data["ways"] = np.stack(list(ways.values()))
    return Drawing("near-the-start", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """Losses in three panels, distances in the last."""
    figure = new_figure(5.0)
    panels = figure.subplots(2, 2)
    (line, ball), (moved, ways) = panels
    names = list(_HALVES.values())
    paint_curves(line, data["alpha"], data["line"], names, palette, "log")
    line.set(xlabel="place on the line (1: end of training)", ylabel="loss (nat)")
    label_log(line)
    line.legend()
    _paint_points(ball, data["radius"], data["ball"], names, palette)
    ball.set_xlabel("radius of the ball / distance of free training")
    _paint_points(moved, data["move"], data["moved_end"], names, palette)
    for axes in (ball, moved):
        axes.set_ylabel("loss (nat)")
        label_log(axes)
        axes.legend(loc="center right")
    moved.set_xlabel("random step before training / same distance")
    names = ["from where it was moved to", "from the first start"]
    _paint_points(ways, data["move"], data["ways"], names, palette, "linear")
    ways.set_xlabel("random step before training / same distance")
    ways.set_ylabel("distance of the end (weight)")
    ways.set_ylim(bottom=0)
    ways.legend()
    for letter, axes in zip("abcd", panels.flat, strict=True):
        name_panel(axes, letter)
    return figure


def _paint_points(
    axes: Axes,
    x: Array,
    values_GXR: Array,
    names: list[str],
    palette: Palette,
    scale: Literal["linear", "log"] = "log",
) -> None:
    """Means with intervals, joined, a marker and dash for each group."""
    styles = ("o-", "s--")
    for place, (name, values_XR) in enumerate(zip(names, values_GXR, strict=True)):
        values_3X = stack_interval(values_XR, scale)
        style = {"fmt": styles[place], "elinewidth": 0.9, "color": palette.lines[place]}
        paint_intervals(axes, x, values_3X, is_upright=True, label=name, **style)
