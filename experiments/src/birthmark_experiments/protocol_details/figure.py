"""The figure of other details of the protocol: losses of each, beside the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
from birthmark.shapes import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WHOLE = (40, 600)
# the epochs between which arms can be told apart
_FORK, _EARLY = (60, 170), (4, 40)
_REFERENCE = "as reproduced"


def draw(results: xr.Dataset) -> Drawing:
    """Losses of the arms at all widths, and around the fork; see the caption."""
    widths = np.unique(results["width"].to_numpy())
    fork, narrow = int(results.attrs["fork"]), int(widths[0])
    title = "Details of the protocol that the paper does not state"
    caption = (
        f"{title}. (a) to (d) Train loss (running mean over an epoch) at widths "
        f"{say_list([*map(str, widths)])}: what was followed beyond the fork. (e) The "
        f"fork at width {fork}: all details. (f), (g) Test loss at widths {narrow} "
        f"and {fork}. Thin lines: one network each; grey: all replicas of the protocol "
        "as reproduced. "
        "Diamonds: the published minima (means of ten networks, read off by eye); "
        "dotted: the published epoch of divergence; both where within the axes. "
        f"Protocol: {results.attrs['protocol']}"
    )
    data: dict[str, Array] = {
        "epoch": results["epoch"].to_numpy(),
        "widths": widths,
        "fork": np.array(fork),
    }
    for width in widths:
        here = results.isel(arm=results["width"].to_numpy() == width)
        names = [str(name).partition(", width")[0] for name in here["arm"].to_numpy()]
        data[f"arms_{width}"] = np.array(names)
        for half in ("train", "test"):
            losses = here[f"{half}_loss"].transpose("arm", "epoch", "replica")
            data[f"{half}_{width}"] = losses.to_numpy()
            data[f"{half}_published_{width}"] = _find_published(half, int(width))
    return Drawing("protocol-details", 0, title, caption, data, paint)


def _find_published(half: str, width: int) -> Array:
    """Epoch and loss of the minimum, and the epoch of divergence; NaN: unknown."""
    for one in FIGURE_2:
        if one.width == width:
            least = getattr(one, f"min_{half}_epoch"), getattr(one, f"min_{half}_loss")
            return np.array([*least, one.divergence_epoch])
    return np.full(3, np.nan)


def paint(data: Mapping[str, Array], palette: Palette) -> Figure:
    """Widths above, the fork and test losses below; one legend for all."""
    figure = new_figure(6.6)
    panels = figure.subplot_mosaic("abcd;eefg")
    widths, fork = data["widths"].tolist(), int(data["fork"])
    names: list[str] = []
    for width in widths:
        names += [n for n in map(str, data[f"arms_{width}"]) if n not in names]
    names.sort(key=_REFERENCE.__eq__)
    styles = {name: choose_style(i, palette) for i, name in enumerate(names)}
    styles[_REFERENCE] = {"color": palette.faint, "linewidth": 2.0, "zorder": 1}
    shown = [
        *(("train", width, _WHOLE) for width in widths),
        ("train", fork, _FORK),
        ("test", widths[0], _EARLY),
        ("test", fork, _EARLY),
    ]
    for (letter, axes), (half, width, span) in zip(panels.items(), shown, strict=True):
        _paint_panel(axes, data, half, width, span, styles)
        _paint_published(axes, data[f"{half}_published_{width}"], half, palette)
        axes.set_yscale("log" if half == "train" else "linear")
        axes.set_xlim(*span)
        axes.set_xlabel("epoch")
        name_panel(axes, letter, f"width {width}")
    for letter, half in (("a", "train"), ("e", "train"), ("f", "test")):
        panels[letter].set_ylabel(f"{half} loss (nat)")
    for row in ("abcd", "fg"):
        _share_scale([panels[letter] for letter in row])
    for letter in "abcde":
        label_log(panels[letter])
    for name, style in styles.items():
        panels["a"].plot([], [], label=name, **style)
    handles, labels = panels["a"].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, handlelength=4)
    return figure


def _share_scale(row: list[Axes]) -> None:
    """The same span of losses in panels side by side, with numbers at the first."""
    limits = np.array([axes.get_ylim() for axes in row])
    for axes in row:
        axes.set_ylim(limits[:, 0].min(), limits[:, 1].max())
        axes.tick_params(labelleft=axes is row[0])


def _paint_panel(
    axes: Axes,
    data: Mapping[str, Array],
    half: str,
    width: int,
    span: tuple[int, int],
    styles: Mapping[str, dict[str, Any]],
) -> None:
    """One half of the data at one width; arms that end before the span does not."""
    shown = (data["epoch"] >= span[0]) & (data["epoch"] <= span[1])
    beyond = data["epoch"] > _FORK[1]
    for name, losses_TR in zip(
        data[f"arms_{width}"], data[f"{half}_{width}"], strict=True
    ):
        if span == _WHOLE and np.isnan(losses_TR[beyond]).all():
            continue
        style = {"linewidth": 1.1} | styles[str(name)]
        axes.plot(data["epoch"][shown], losses_TR[shown], **style)


def _paint_published(axes: Axes, published: Array, half: str, palette: Palette) -> None:
    epoch, loss, divergence = published
    axes.plot(epoch, loss, "D", color=palette.ink, fillstyle="none", markersize=6)
    if half == "train":
        axes.axvline(divergence, color=palette.ink, linestyle=":", linewidth=1)
