"""The figure of constant starts: units, losses, ties, end points."""

from typing import Any

import numpy as np
import xarray as xr

from birthmark.figures import (
    DASHES,
    Drawing,
    Palette,
    label_log,
    name_panel,
    new_figure,
)
from ..frame.curves import (
    Axes,
    Data,
    Figure,
    paint_curves,
    paint_groups,
    paint_marks,
    take,
)

_THEORY = "width 1"
_OTHER_TIES = ("none", "dropout", "scattered sums")
_LEAST = 1e-8  # of a spread on a log axis: below, units are equal in float32
_ENDS = {
    "end_distance": "distance / way",
    "end_disagreement": "share of predictions that differ",
    "end_barrier": "barrier of the loss (nat)",
}


def draw(results: xr.Dataset) -> Drawing:
    """Four panels; see the caption."""
    title = "Constant starts: one unit a layer, until something breaks the tie"
    caption = (
        f"{title}. (a) Different units of the second hidden layer, of "
        f"{results.attrs['width']}; the three constant starts lie on each other at 1. "
        "(b) Train loss at the end of each epoch; circles: the width-1 network that "
        "theory says the start at 0.01 is (as visited in the epoch); dotted line: the "
        f"best of {results['narrow_loss'].size} real width-1 networks. (c) Spread of "
        "the units of the start at 0.01, over the size of the weights, under what "
        "might break the tie; dotted line: where they count as apart; without any "
        f"of it the spread is exactly 0, drawn at {_LEAST:g}. (d) End points of pairs "
        "of replicas that differ in the order of their batches. Lines and points: "
        "means over replicas or pairs (geometric in c); bands and bars: Student's 95 % "
        f"interval. Protocol: {results.attrs['protocol']}"
    )
    one = results.drop_sel(tie=_THEORY).sel(layer="hidden2")
    names = ("epoch", "start", "distinct_units", "train_loss", "tie", "spread")
    data = take(one, (*names, "end_start", *_ENDS)) | {
        "step": results["epoch"].to_numpy() * results.attrs["steps_per_epoch"],
        "theory": results["tie_loss"].sel(tie=_THEORY).mean("replica").to_numpy(),
        "narrow": np.array(results["narrow_loss"].min()),
        "apart": np.array(results.attrs["apart"]),
    }
    return Drawing("constant-start", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """Two rows of two panels."""
    figure = new_figure(6.0)
    panels = figure.subplots(2, 2)
    starts = [str(name) for name in data["start"]]
    units = panels[0, 0]
    paint_curves(units, data["epoch"], data["distinct_units"], starts, palette)
    units.set_yscale("log", base=2)
    units.yaxis.set_major_formatter("{x:g}")
    units.set(xlabel="epochs", ylabel="different units (count)")
    units.legend(loc="center right", handlelength=3)
    name_panel(units, "a", "units of the second hidden layer")
    _paint_losses(panels[0, 1], data, starts, palette)
    _paint_ties(panels[1, 0], data, palette)
    _paint_ends(panels[1, 1], data, palette)
    legend = panels[1, 0].get_legend_handles_labels()
    figure.legend(*legend, loc="outside lower center", ncols=5, handlelength=3)
    return figure


def _paint_losses(axes: Axes, data: Data, starts: list[str], palette: Palette) -> None:
    paint_curves(axes, data["epoch"], data["train_loss"], starts, palette, "log")
    x, y, label = data["epoch"], data["theory"], "0.01 as a width-1 network (theory)"
    paint_marks(axes, x[4::8], y[4::8], "o", palette.ink, fill="none", label=label)
    style: dict[str, Any] = {"color": palette.ink, "linestyle": ":", "linewidth": 1}
    axes.axhline(float(data["narrow"]), label="best real width-1 network", **style)
    label_log(axes)
    axes.set(xlabel="epochs", ylabel="train loss (nat)")
    own = [found[-2:] for found in axes.get_legend_handles_labels()]
    axes.legend(*own, loc="right", bbox_to_anchor=(1.0, 0.68), handlelength=2)
    name_panel(axes, "b", "what it learns (colours as in a)")


def _paint_ties(axes: Axes, data: Data, palette: Palette) -> None:
    names = [str(name) for name in data["tie"]]
    spread = np.maximum(data["spread"], _LEAST)
    dashes = iter(DASHES)  # of noises, which share a colour
    colours = dict(zip(_OTHER_TIES, (palette.ink, *palette.lines[1:3]), strict=True))
    for name, values_ER in zip(names, spread, strict=True):
        mean = np.exp(np.log(values_ER).mean(axis=-1))
        dash = "-" if name in colours else next(dashes)
        style: dict[str, Any] = {
            "color": colours.get(name, palette.lines[0]),
            "linestyle": dash,
        }
        axes.plot(data["step"], mean, label=name, **style)
    axes.axhline(float(data["apart"]), color=palette.faint, linestyle=":", linewidth=1)
    axes.set(yscale="log", xlabel="optimizer steps")
    axes.set_ylabel("spread of the units (share)")
    name_panel(axes, "c", "what breaks the tie (legend below)")


def _paint_ends(axes: Axes, data: Data, palette: Palette) -> None:
    names = [str(name).replace(" ", "\n", 1) for name in data["end_start"]]
    values = np.stack([data[name] for name in _ENDS])
    paint_groups(axes, values, names, palette, list(_ENDS.values()), 0.2)
    axes.axvline(0, color=palette.faint, linewidth=0.8, zorder=0)
    axes.set_xlabel("between two end points")
    axes.legend(loc="upper right")
    name_panel(axes, "d", "where replicas end")
