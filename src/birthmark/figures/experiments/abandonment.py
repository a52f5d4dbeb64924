"""The figure of abandoned examples: curves by clip, and when the ends came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from birthmark.figures.canvas import name_panel, new_figure
from birthmark.figures.drawings import Drawing
from birthmark.figures.experiments.curves import paint_curves
from birthmark.figures.palettes import Palette
from birthmark.shapes import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CURVES = {
    "train_accuracy": "train accuracy (share)",
    "below_eps": "examples below the clip (%)",
    "deviation": "std of the deviation (weight)",
}
_TOPS = {"train_accuracy": 1, "below_eps": 102}  # bands may go beyond
_THIN = 3  # epochs between two points of a curve
_ENDS = {"onset": ("o", "abandoning begins"), "death": ("X", "only guesses")}


def draw(results: xr.Dataset) -> Drawing:
    """Four panels; see the caption."""
    attrs = results.attrs
    title = "The clip of the loss, from wide to none"
    caption = (
        f"{title}. (a) Train accuracy; (b) examples whose true class had a probability "
        "below the clip when visited (for the loss from logits, which abandons none: "
        f"below {attrs['paper_eps']:g}); (c) standard deviation of the deviation of "
        "the weights between the hidden layers. Lines: means; bands: Student's 95 % "
        f"interval of the mean, n = {results.sizes['replica']}. (d) Each replica: "
        f"circles, the first epoch with {100 * attrs['onset']:g} % of the examples "
        "abandoned; crosses, the epoch at which a network that had learned had only "
        "the loss of a guess left (some come back); at the dotted line: neither within "
        f"the {attrs['budget']} epochs. Protocol: {attrs['protocol']}"
    )
    data: dict[str, Array] = {
        name: results[name].transpose("clip", ..., "replica").to_numpy()
        for name in (*_CURVES, *_ENDS)
    }
    for name in ("train_accuracy", "below_eps"):
        data[name] = data[name][:, ::_THIN]
    data["below_eps"] = 100 * data["below_eps"]
    data["epoch"] = results["epoch"].to_numpy()[::_THIN]
    data["measured_epoch"] = results["measured_epoch"].to_numpy()
    data["clip"] = results["clip"].to_numpy()
    data["budget"] = np.array(attrs["budget"])
    return Drawing("abandonment", 0, title, caption, data, paint)


def paint(data: Mapping[str, Array], palette: Palette) -> Figure:
    """Three panels of curves with one legend, and the times."""
    figure = new_figure(5.0)
    panels = figure.subplots(2, 2)
    names = [str(name) for name in data["clip"]]
    for letter, axes, (name, label) in zip(
        "abc", panels.flat, _CURVES.items(), strict=False
    ):
        x = data["measured_epoch" if name == "deviation" else "epoch"]
        paint_curves(axes, x, data[name], names, palette)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.set_ylim(0, _TOPS.get(name))
        name_panel(axes, letter)
    _paint_ends(panels[1, 1], data, palette)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        [name if name == "logits" else f"clip {name}" for name in labels],
        loc="outside upper center",
        ncols=5,
        handlelength=3,
    )
    return figure


def _paint_ends(axes: Axes, data: Mapping[str, Array], palette: Palette) -> None:
    num_clips, num_replicas = data["onset"].shape
    aside = np.linspace(-0.2, 0.2, num_replicas)
    x_CR = np.arange(num_clips)[:, None] + aside
    for place, (name, (marker, label)) in enumerate(_ENDS.items()):
        axes.plot(
            x_CR.ravel(),
            data[name].ravel(),
            marker,
            markersize=5,
            color=palette.lines[place],
            markeredgecolor=palette.paper,
            markeredgewidth=0.4,
            label=label,
        )
    budget = float(data["budget"])
    neither = ~np.isfinite(data["onset"]) & ~np.isfinite(data["death"])
    axes.plot(
        x_CR[neither],
        np.full(neither.sum(), budget),
        "o",
        markersize=5,
        markerfacecolor=palette.paper,
        markeredgecolor=palette.ink,
        label="neither",
    )
    axes.axhline(budget, color=palette.faint, linestyle=":", linewidth=1)
    axes.set_xticks(range(num_clips), labels=[str(name) for name in data["clip"]])
    axes.set_xlabel("clip of the loss")
    axes.set_ylabel("epoch")
    axes.set_ylim(0, budget * 1.05)
    axes.legend(loc="lower center")
    name_panel(axes, "d")
