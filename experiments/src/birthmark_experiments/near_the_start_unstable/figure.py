"""The figure of the tests near the start where training collapses."""

from typing import Any

import numpy as np
import xarray as xr

from birthmark.figures import Drawing, Palette, choose_style, name_panel, new_figure
from birthmark.shapes import Array
from ..frame.curves import Axes, Data, Figure, paint_curves, paint_replicas, take
from .facts import LAST, WORDS

_FOLLOWED = ("clipped free", "clipped ball 1", "clipped norm 1", "clipped shrunk 1")
_TIPS = {"best": "to the best point", "last": "to the end"}
_KINDS = {
    "free": "free",
    "ball": "in a ball of {:g}",
    "norm": "norm at most {:g}",
    "moved": "moved by {:g}",
    "shrunk": "moved, same norm",
}


def draw(results: xr.Dataset) -> Drawing:
    """Four panels; see the caption."""
    title = "Near the start, where training collapses"
    caption = (
        f"{title}. (a) Clipped loss on the straight lines from the start (0) to the "
        "best point of free training, and to where it ends (1), and beyond: mean and "
        "Student's 95 % interval. (b) Train accuracy with the clipped loss, a line for "
        f"each of {results.sizes['replica']} replicas. (c), (d) Train accuracy of each "
        f"replica: median of the last {LAST} epochs (filled), and highest of an epoch "
        "(hollow). In a ball: put back into a ball around the start whose radius is so "
        "many times the way to the best point; norm: into one around zero, with so "
        "many times the norm of the best point; moved: the start was moved by a random "
        "step of so many times the way to the best point; same norm: moved by 1, and "
        "then made as long as before, each tensor by itself. Protocol: "
        f"{results.attrs['protocol']}"
    )
    curves = take(results, ("line_train_loss",), "tip", "alpha", "replica")
    curves |= take(results, ("train_accuracy",), "arm", "epoch", "replica")
    names = ("alpha", "epoch", "tip", "arm", "loss", "kind", "size")
    data = take(results, names) | curves
    return Drawing("near-the-start-unstable", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """Losses on lines, accuracies over time, and where all arms end."""
    figure = new_figure(5.6)
    (line, curves), ends = figure.subplots(2, 2)
    names = [_TIPS[str(tip)] for tip in data["tip"]]
    paint_curves(line, data["alpha"], data["line_train_loss"], names, palette)
    name_panel(line, "a", "on lines from the start")
    line.set(xlabel="place on the line (1: its end)", ylabel="clipped loss (nat)")
    line.set_ylim(bottom=0)
    line.legend(loc="upper right", bbox_to_anchor=(1.0, 0.88))
    _paint_curves(curves, data, palette)
    name_panel(curves, "b", "clipped loss")
    curves.set(xlabel="epoch", ylabel="train accuracy")
    for letter, axes, (loss, name) in zip("cd", ends, WORDS.items(), strict=True):
        _paint_ends(axes, data, np.flatnonzero(data["loss"] == loss), palette)
        name_panel(axes, letter, name)
        axes.set(xlabel="train accuracy", xlim=(-0.03, 1.03))
    ends[1].legend(loc="center", bbox_to_anchor=(0.42, 0.6), ncols=2)
    return figure


def _name(data: Data, row: int) -> str:
    return _KINDS[str(data["kind"][row])].format(float(data["size"][row]))


def _paint_curves(axes: Axes, data: Data, palette: Palette) -> None:
    """A thin line each replica, a colour and a dash each arm."""
    rows = np.flatnonzero(np.isin(data["arm"], _FOLLOWED))
    for place, row in enumerate(rows.tolist()):
        style = choose_style(place, palette) | {"alpha": 0.85}
        accuracy, name = data["train_accuracy"][row], _name(data, row)
        paint_replicas(axes, data["epoch"], accuracy, label=name, **style)
    axes.set_ylim(0, 1.03)
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 0.0), handlelength=3)


def _paint_ends(axes: Axes, data: Data, rows: Array, palette: Palette) -> None:
    """One line of points an arm, the first at the top."""
    for place, row in enumerate(rows.tolist()):
        accuracy_TR = data["train_accuracy"][row]
        heights = place + np.linspace(-0.22, 0.22, accuracy_TR.shape[1])
        axes.axhline(place, color=palette.faint, linewidth=0.4, zorder=0)
        for values, fill, colour, label in (
            (accuracy_TR.max(axis=0), "none", palette.lines[1], "highest"),
            (np.median(accuracy_TR[-LAST:], axis=0), "full", palette.lines[0], "end"),
        ):
            style: dict[str, Any] = {
                "fillstyle": fill,
                "markersize": 4,
                "color": colour,
            }
            axes.plot(values, heights, "o", label=None if place else label, **style)
    axes.set_yticks(range(len(rows)), labels=[_name(data, row) for row in rows])
    axes.invert_yaxis()
