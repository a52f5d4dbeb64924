"""The figure of other details of the protocol: losses of each, beside the reference."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from birthmark.analysis import FIGURE_2, say_list
from birthmark.figures import (
    Drawing,
    Palette,
    choose_style,
    label_log,
    name_panel,
    new_figure,
)
from ..frame.curves import Axes, Data, Figure, take
from .facts import REFERENCE

_WHOLE = (1, 600)
_FORK = 170  # epochs by which the fork of the middle width is over
_TICKS = (0.02, 0.05, 0.1, 0.2)


def draw(results: xr.Dataset) -> Drawing:
    """A row a width for buffers, and all details at the fork; see the caption."""
    widths = np.unique(results["width"].to_numpy())
    fork = int(results.attrs["fork"])
    published = {one.width: one for one in FIGURE_2}
    title = "Details of the protocol that the paper does not state"
    caption = (
        f"{title}. Left, a row a width ({say_list([*map(str, widths)])}): train loss "
        "of each network, by the size of the buffer in which the stream of examples is "
        "shuffled; grey: a new random order every epoch. Diamonds: the published "
        "minimum; dotted: the published epoch of divergence (means of ten networks, "
        f"read off by eye). Right: the least train loss within {_FORK} epochs at width "
        f"{fork}, each detail by itself, a point a network; dashed: half the published "
        "minimum, below which a network is through the fork."
    )
    data = take(results, ("epoch",)) | {"widths": widths, "fork": np.array(fork)}
    read = ("min_train_epoch", "min_train_loss", "divergence_epoch")
    for width in widths:
        here = results.isel(arm=results["width"].to_numpy() == width)
        names = [str(name).partition(", width")[0] for name in here["arm"].to_numpy()]
        losses = here["train_loss"].transpose("arm", "epoch", "replica")
        one = published.get(int(width))
        beside = [getattr(one, name, np.nan) for name in read]
        data |= {
            f"arms_{width}": np.array(names),
            f"buffer_{width}": here["buffer"].to_numpy(),
            f"train_{width}": losses.to_numpy(),
            f"published_{width}": np.array(beside),
        }
    return Drawing("protocol-details", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """Widths down the left, details at the fork on the right."""
    figure = new_figure(6.6)
    widths = data["widths"].tolist()
    grid = figure.add_gridspec(len(widths), 2, width_ratios=[1.5, 1])
    sizes = sorted({int(b) for w in widths for b in data[f"buffer_{w}"]} - {0})
    styles = {size: choose_style(i, palette) for i, size in enumerate(sizes)}
    styles[0] = {"color": palette.faint, "linewidth": 2.0, "zorder": 1}
    rows: list[Axes] = []
    for place, width in enumerate(widths):
        axes = figure.add_subplot(grid[place, 0], sharex=rows[0] if rows else None)
        rows.append(axes)
        _paint_row(axes, data, width, styles, palette)
        name_panel(axes, "abcdefgh"[place], f"width {width}")
        axes.tick_params(labelbottom=place == len(widths) - 1)
    rows[-1].set_xlabel("epoch")
    for size, style in styles.items():
        label = f"buffer of {size:,}" if size else "new order every epoch"
        rows[0].plot([], [], label=label, **style)
    legend = rows[0].get_legend_handles_labels()
    figure.legend(*legend, loc="outside lower center", ncols=3)
    details = figure.add_subplot(grid[:, 1])
    _paint_details(details, data, palette)
    name_panel(details, "abcdefgh"[len(widths)], f"all details, width {data['fork']}")
    return figure


def _paint_row(
    axes: Axes,
    data: Data,
    width: int,
    styles: Mapping[int, dict[str, Any]],
    palette: Palette,
) -> None:
    """Networks with a buffer and the reproduced ones, at one width."""
    shown = (data["epoch"] >= _WHOLE[0]) & (data["epoch"] <= _WHOLE[1])
    arms = [data[f"{name}_{width}"] for name in ("arms", "buffer", "train")]
    for name, size, losses_TR in zip(*arms, strict=True):
        if (size or name == REFERENCE) and "logits" not in name:
            style = {"linewidth": 1.1} | styles[int(size)]
            axes.plot(data["epoch"][shown], losses_TR[shown], **style)
    epoch, loss, divergence = data[f"published_{width}"]
    axes.plot(epoch, loss, "D", color=palette.ink, fillstyle="none", markersize=6)
    axes.axvline(divergence, color=palette.ink, linestyle=":", linewidth=1)
    axes.set(yscale="log", xlim=_WHOLE, ylabel="train loss")
    label_log(axes)


def _paint_details(axes: Axes, data: Data, palette: Palette) -> None:
    """The least train loss of each network by the end of the fork, a line a detail."""
    width = int(data["fork"])
    until = data["epoch"] <= _FORK
    names = [str(name) for name in data[f"arms_{width}"]]
    early_ATR = np.where(until[:, None], data[f"train_{width}"], np.inf)
    least = np.nanmin(early_ATR, axis=1)  # [arm, replica]
    order = np.argsort(np.nanmean(np.where(np.isfinite(least), least, np.nan), axis=1))
    for line, place in enumerate(order):
        values = least[place][np.isfinite(least[place])]
        colour = palette.faint if names[place] == REFERENCE else palette.train
        axes.plot(values, np.full(len(values), line), "o", color=colour, markersize=4)
    labels = [names[place].replace(" in a new order", ", new order") for place in order]
    axes.set_yticks(range(len(order)), labels, fontsize=6.5)
    half = data[f"published_{width}"][1] / 2
    axes.axvline(half, color=palette.ink, linestyle="--", linewidth=1)
    axes.set(xscale="log", xlabel=f"least train loss in {_FORK} epochs")
    axes.invert_yaxis()
    axes.set_xticks(_TICKS, [f"{x:g}" for x in _TICKS])
    axes.minorticks_off()
