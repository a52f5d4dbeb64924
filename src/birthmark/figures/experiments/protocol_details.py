"""The figure of other details of the protocol: losses of each, beside the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

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

_FIRST = {"train": 40, "test": 4}  # epochs before which all arms are alike


def draw(results: xr.Dataset) -> Drawing:
    """Train loss of the widest, test loss of the narrowest; see the caption."""
    widths = results["width"].to_numpy()
    wide, narrow = int(widths.max()), int(widths.min())
    title = "Details of the protocol that the paper does not state"
    caption = (
        f"{title}. (a) Train loss (running mean over an epoch) at width {wide}. (b) "
        f"Test loss at width {narrow}. Lines: one network each; grey: all replicas of "
        "the protocol as reproduced; diamond: the published minimum (mean of ten "
        f"networks, read off by eye). Protocol: {results.attrs['protocol']}"
    )
    data: dict[str, Array] = {"epoch": results["epoch"].to_numpy()}
    for half, width in (("train", wide), ("test", narrow)):
        here = results.isel(arm=widths == width)
        data[half] = (
            here[f"{half}_loss"].transpose("arm", "epoch", "replica").to_numpy()
        )
        data[f"{half}_arms"] = here["arm"].to_numpy()
        data[f"{half}_published"] = np.array(
            [
                (getattr(one, f"min_{half}_epoch"), getattr(one, f"min_{half}_loss"))
                for one in FIGURE_2
                if one.width == width
            ]
        ).reshape(-1, 2)
    return Drawing("protocol-details", 0, title, caption, data, paint)


def paint(data: Mapping[str, Array], palette: Palette) -> Figure:
    """Two panels, each with a legend of its own below."""
    figure = new_figure(4.2)
    panels = figure.subplots(1, 2)
    for letter, axes, half in zip("ab", panels, ("train", "test"), strict=True):
        _paint_panel(axes, data, half, palette)
        name_panel(axes, letter)
    return figure


def _paint_panel(
    axes: Axes, data: Mapping[str, Array], half: str, palette: Palette
) -> None:
    later = data["epoch"] >= _FIRST[half]
    place = 0
    for name, losses_TR in zip(data[f"{half}_arms"], data[half], strict=True):
        reference = str(name).startswith("as reproduced")
        style = (
            {"color": palette.faint, "linewidth": 2.0, "zorder": 1}
            if reference
            else choose_style(place, palette) | {"linewidth": 1.1}
        )
        place += not reference
        lines = axes.plot(data["epoch"][later], losses_TR[later], **style)
        lines[0].set_label("as reproduced" if reference else str(name))
    for epoch, loss in data[f"{half}_published"]:
        axes.plot(epoch, loss, "D", color=palette.ink, fillstyle="none", markersize=6)
    axes.set_yscale("log")
    label_log(axes)
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{half} loss (nat)")
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, fontsize="small"
    )
