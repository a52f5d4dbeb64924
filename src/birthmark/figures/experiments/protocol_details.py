"""The figure of other details of the protocol: losses of each, beside the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from birthmark.analysis import FIGURE_2
from birthmark.figures.canvas import label_log, name_panel, new_figure
from birthmark.figures.drawings import Drawing
from birthmark.figures.palettes import Palette, choose_style
from birthmark.shapes import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# the epochs between which arms can be told apart
_SHOWN = {"train": (40, 600), "test": (4, 40)}
_REFERENCE = "as reproduced"


def draw(results: xr.Dataset) -> Drawing:
    """Losses of the widest networks and of the narrowest; see the caption."""
    widths = results["width"].to_numpy()
    wide, narrow = int(widths.max()), int(widths.min())
    title = "Details of the protocol that the paper does not state"
    caption = (
        f"{title}. (a), (b) Train loss (running mean over an epoch) at widths {wide} "
        f"and {narrow}; (c), (d) test loss. Lines: one network each; grey: all "
        "replicas of the protocol as reproduced. Diamonds: the published minima (means "
        "of ten networks, read off by eye); dotted: the published epoch of divergence. "
        f"Protocol: {results.attrs['protocol']}"
    )
    data: dict[str, Array] = {"epoch": results["epoch"].to_numpy()}
    for width in (wide, narrow):
        here = results.isel(arm=widths == width)
        names = [str(name).partition(", width")[0] for name in here["arm"].to_numpy()]
        data[f"arms_{width}"] = np.array(names)
        for half in _SHOWN:
            losses = here[f"{half}_loss"].transpose("arm", "epoch", "replica")
            data[f"{half}_{width}"] = losses.to_numpy()
            data[f"{half}_published_{width}"] = _find_published(half, width)
    data["widths"] = np.array([wide, narrow])
    return Drawing("protocol-details", 0, title, caption, data, paint)


def _find_published(half: str, width: int) -> Array:
    """Epoch and loss of the minimum, and the epoch of divergence; NaN: unknown."""
    for one in FIGURE_2:
        if one.width == width:
            least = getattr(one, f"min_{half}_epoch"), getattr(one, f"min_{half}_loss")
            return np.array([*least, one.divergence_epoch])
    return np.full(3, np.nan)


def paint(data: Mapping[str, Array], palette: Palette) -> Figure:
    """Train loss above, test loss below; one legend for all."""
    figure = new_figure(6.4)
    panels = figure.subplots(2, 2, sharey="row")
    names: list[str] = []
    for width in data["widths"]:
        names += [n for n in map(str, data[f"arms_{width}"]) if n not in names]
    names.sort(key=_REFERENCE.__eq__)
    styles = {name: choose_style(i, palette) for i, name in enumerate(names)}
    styles[_REFERENCE] = {"color": palette.faint, "linewidth": 2.0, "zorder": 1}
    for row, half in zip(panels, _SHOWN, strict=True):
        for axes, width in zip(row, data["widths"], strict=True):
            _paint_panel(axes, data, half, int(width), styles)
            _paint_published(axes, data[f"{half}_published_{width}"], half, palette)
            axes.set_yscale("log")
            axes.set_xlabel("epoch")
        label_log(row[0])
        row[0].set_ylabel(f"{half} loss (nat)")
    for letter, axes, width in zip(
        "abcd", panels.flat, np.tile(data["widths"], 2), strict=True
    ):
        name_panel(axes, letter, f"width {width}")
    for name, style in styles.items():
        panels[0, 0].plot([], [], label=name, **style)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, handlelength=4)
    return figure


def _paint_panel(
    axes: Axes,
    data: Mapping[str, Array],
    half: str,
    width: int,
    styles: Mapping[str, dict[str, Any]],
) -> None:
    first, last = _SHOWN[half]
    shown = (data["epoch"] >= first) & (data["epoch"] <= last)
    for name, losses_TR in zip(
        data[f"arms_{width}"], data[f"{half}_{width}"], strict=True
    ):
        style = {"linewidth": 1.1} | styles[str(name)]
        axes.plot(data["epoch"][shown], losses_TR[shown], **style)


def _paint_published(axes: Axes, published: Array, half: str, palette: Palette) -> None:
    epoch, loss, divergence = published
    axes.plot(epoch, loss, "D", color=palette.ink, fillstyle="none", markersize=6)
    if half == "train":
        axes.axvline(divergence, color=palette.ink, linestyle=":", linewidth=1)
