"""The figure of who is abandoned: over time, by trait, and some of the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from birthmark.figures import Drawing, Palette, name_panel, new_figure
from ..frame.curves import Axes, Data, Figure, paint_curves, paint_intervals, take

if TYPE_CHECKING:
    from matplotlib.gridspec import SubplotSpec

_LABELS = {
    "all": "all",
    "contradictory": "equal image, other label",
    "tied": "... as many as with its own",
    "outvoted": "... more than with its own",
    "near": "similar image, other label",
    "odd": "nearest image, other label",
    "alone": "none of 10 near shares its label",
    "rare": "of a rare class",
    "hard": "hard early on",
}
_SHOWN = ("all", "contradictory", "alone", "rare", "hard")
_STAGES = {"early": "early", "before": "before the onset", "onset": "at the onset"}
_ROWS = ("abandoned", "its label", "network says")


def draw(results: xr.Dataset) -> Drawing:
    """Curves over time, ratios by trait, and pictures; see the caption."""
    attrs = results.attrs
    title = "Who is abandoned"
    caption = (
        f"{title}. (a) Of all training examples, and of those with a trait, the share "
        f"whose true class has a probability below {attrs['eps']:g} (0 is not drawn). "
        "(b) Of those below, the share of contradictory ones (an equal image has "
        "another label); dotted: their share of all examples. (c) Train loss of an "
        "epoch; (d) standard deviation of the deviation between the hidden layers. "
        f"Lines: means over {results.sizes['replica']} replicas; bands: Student's "
        "95 % interval. (e) Examples first below the clip: share of those with a trait "
        "over share of those without it; bars: 95 % interval over classes (bootstrap), "
        f"replicas pooled; early: by epoch {attrs['early']}; the onset: the first kept "
        f"epoch with {100 * attrs['onset']:g} % below. (f) {results.sizes['shown']} "
        f"drawn at random of the {attrs['num_common']} examples that every replica has "
        f"below the clip at epoch {attrs['early']}; under each the easiest example of "
        "its label, and of the class that the first replica gives. "
        f"Protocol: {attrs['protocol']}"
    )
    below = results["num_below"].transpose("trait", "kept_epoch", "replica")
    traits = results["trait"].to_numpy().tolist()
    risk = results["num_risk"].sel(stage="early").sum("class")
    sizes = risk.transpose("trait", "replica").to_numpy()[:, None]
    values = below.to_numpy()
    shares = 100 * values / np.maximum(sizes, 1)
    everyone = values[traits.index("all")]
    among = 100 * values[traits.index("contradictory")] / np.maximum(everyone, 1)
    height = int(attrs["image_height"])
    pictures = results["picture"].to_numpy() / attrs["full_scale"]
    data = take(results, ("kept_epoch", "epoch", "train_loss", "deviation")) | {
        "shares": shares[[traits.index(name) for name in _SHOWN]],
        "among": np.where(everyone > 0, among, np.nan),
        "base": np.array(100 * attrs["num_contradictory"] / attrs["num_examples"]),
        "trait": np.array(traits[1:]),
        "ratio": results["ratio"].sel(stage=list(_STAGES)).to_numpy()[:, :, 1:],
        "picture": pictures.reshape(*pictures.shape[:2], height, -1),
    }
    return Drawing("who-is-abandoned", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """Four panels of curves, the ratios, and the pictures."""
    figure = new_figure(8.4)
    grid = figure.add_gridspec(3, 1, height_ratios=(3.6, 2.5, 1.9))
    panels: Any = grid[0].subgridspec(2, 2).subplots(sharex=True)
    x = data["kept_epoch"]
    names = [_LABELS[name] for name in _SHOWN]
    first = panels[0, 0]
    shares = np.where(data["shares"] > 0, data["shares"], np.nan)
    paint_curves(first, x, shares, names, palette, "log")
    first.set_yscale("log")
    first.yaxis.set_major_formatter("{x:g}")
    first.set(ylim=(0.02, 120), ylabel="below the clip (%)")
    space = {"handlelength": 2.6, "columnspacing": 1.2}
    titled = {"title": "examples in (a)", "title_fontsize": 7}
    legend = first.get_legend_handles_labels()
    figure.legend(*legend, loc="outside upper center", ncols=5, **space, **titled)
    for axes, name, label in (
        (panels[0, 1], "among", "contradictory among\nthose below (%)"),
        (panels[1, 0], "train_loss", "train loss (nat)"),
        (panels[1, 1], "deviation", "std of the deviation\n(weight)"),
    ):
        at = x if name == "among" else data["epoch"]
        paint_curves(axes, at, data[name][None], [""], palette)
        axes.set(ylabel=label, ylim=(0, None))
    base = float(data["base"])
    panels[0, 1].axhline(base, color=palette.faint, linestyle=":", linewidth=1)
    for letter, axes in zip("abcd", panels.flat, strict=True):
        name_panel(axes, letter)
    for axes in panels[1]:
        axes.set_xlabel("epoch")
    _paint_ratios(figure.add_subplot(grid[1]), data, palette)
    _paint_pictures(figure, grid[2], data, palette)
    return figure


def _paint_ratios(axes: Axes, data: Data, palette: Palette) -> None:
    names = [_LABELS[str(name)] for name in data["trait"]]
    rows = np.arange(len(names))
    for place, label in enumerate(_STAGES.values()):
        # a bar to zero leaves the axis, and a ratio of zero has no place on it
        ratio_3P = data["ratio"][:, place]
        values_3P = np.where(ratio_3P[0] > 0, ratio_3P, np.nan)
        style: dict[str, Any] = {
            "fmt": "osD"[place],
            "color": palette.lines[place],
            "label": label,
        }
        paint_intervals(axes, rows + 0.22 * (place - 1), values_3P, **style)
    axes.axvline(1, color=palette.faint, linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("share abandoned with the trait, over share without it")
    axes.set_yticks(rows, labels=names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.legend(loc="upper right", title="first below the clip", title_fontsize=7)
    name_panel(axes, "e")


def _paint_pictures(
    figure: Figure, place: SubplotSpec, data: Data, palette: Palette
) -> None:
    pictures = data["picture"]
    num_rows, num_shown = pictures.shape[:2]
    if num_shown == 0:
        return
    grid = place.subgridspec(num_rows, num_shown, hspace=0.1, wspace=0.1)
    panels: Any = grid.subplots(squeeze=False)
    for row, column in np.ndindex(num_rows, num_shown):
        axes = panels[row, column]
        axes.imshow(pictures[row, column], cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(visible=True, color=palette.faint)
        if column == 0:
            axes.set_ylabel(_ROWS[row], rotation=0, ha="right", va="center")
    name_panel(panels[0, 0], "f")
