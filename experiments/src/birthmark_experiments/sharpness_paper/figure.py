"""The figure of sharpness in the paper's own network, with the clip and from logits."""

import numpy as np
import xarray as xr

from birthmark.figures import Drawing, Palette, label_log, name_panel, new_figure
from birthmark.shapes import Array
from ..frame.curves import Axes, Data, Figure, paint_marks, paint_replicas, take
from ..sharpness.facts import EDGE
from .facts import QUANTITIES

_FLOOR = 0.5  # of what is drawn: a loss that is flat is no point of a log axis
_THIN = 5  # epochs between two points of the train loss
_LOSSES = {"clipped": ("-", "o", "clipped"), "logits": ("--", "s", "from logits")}


def draw(results: xr.Dataset) -> Drawing:
    """Three panels; see the caption."""
    title = "Sharpness in the paper's own network"
    caption = (
        f"{title}. (a) Learning rate times sharpness and (b) times batch sharpness, at "
        f"the epochs of the points; values below {_FLOOR:g} are arrows at the foot, "
        "and where no batch has a gradient there is no batch sharpness. (c) Train "
        f"loss, every {_THIN} epochs. A line is a replica (n = "
        f"{results.sizes['replica']} a loss; "
        "same starts, same batches). Dotted: 2, above which gradient descent on a "
        f"quadratic diverges. Protocol: {results.attrs['protocol']}"
    )
    curves = results.isel(epoch=slice(None, None, _THIN))
    scaled = results["lr"] * results[list(QUANTITIES)]
    data = take(scaled, QUANTITIES, "loss", "look", "replica")
    data |= take(curves, ("train_loss",), "loss", "epoch", "replica")
    data |= take(curves, ("epoch", "look", "loss"))
    return Drawing("sharpness-paper", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """Both curvatures and the loss, over the same epochs."""
    figure = new_figure(2.6)
    panels = figure.subplots(1, 3)
    for axes, (name, label) in zip(panels, QUANTITIES.items(), strict=False):
        found, foot = data[name], 0.9 * _FLOOR
        is_below = found < _FLOOR
        values = np.where(is_below, foot, found)
        _paint_lines(axes, data["look"], values, data["loss"], palette, is_marked=True)
        for place, below_XR in enumerate(is_below):
            x = data["look"][below_XR.any(axis=1)]
            style = {"fill": palette.paper, "markersize": 6, "zorder": 3}
            paint_marks(axes, x, x * 0 + foot, "v", palette.lines[place], **style)
        axes.axhline(EDGE, color=palette.ink, linestyle=":", linewidth=1)
        axes.set(ylabel=label, ylim=(0.8 * _FLOOR, 200))
    _paint_lines(panels[2], data["epoch"], data["train_loss"], data["loss"], palette)
    panels[2].set_ylabel("train loss (nat)")
    panels[0].legend()
    for axes, letter in zip(panels, "abc", strict=True):
        label_log(axes)
        axes.set(xlabel="epoch", xlim=(0, 1.03 * float(data["epoch"][-1])))
        name_panel(axes, letter)
    return figure


def _paint_lines(
    axes: Axes,
    x: Array,
    values_GXR: Array,
    names: Array,
    palette: Palette,
    *,
    is_marked: bool = False,
) -> None:
    for place, (name, values_XR) in enumerate(zip(names, values_GXR, strict=True)):
        dash, marker, label = _LOSSES[str(name)]
        style = {"linestyle": dash, "color": palette.lines[place], "markersize": 3}
        style["marker"] = marker if is_marked else ""
        paint_replicas(axes, x, values_XR, label=label, **style)
