"""The figure of deterministic starts: losses, accuracies, and what a start leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from birthmark.figures import Drawing, Palette, label_log, name_panel, new_figure
from birthmark.shapes import Array
from birthmark.statistics import fit_power_law
from birthmark_experiments.deterministic_start.protocol import REFERENCE
from birthmark_experiments.frame.curves import (
    Axes,
    Data,
    Figure,
    paint_curves,
    paint_groups,
)
from birthmark_experiments.frame.rankings import difference, read_rankings

_MOVED = (
    ("initial null space", "start", "first, at the start"),
    ("initial null space", "end", "first, trained"),
    ("final null space", "end", "last, trained"),
    ("any direction", "end", "as far anywhere"),
)


def draw(results: xr.Dataset) -> Drawing:
    """Six panels; see the caption."""
    title = "Deterministic starts, and what training keeps of a start"
    caption = (
        f"{title}. (a) Test loss of random starts (solid) and of starts without chance "
        "(broken). (b) Final test accuracy minus that of orthogonal: thin, the "
        "interval of all pairs of starts together (Bonferroni); filled where Holm's "
        "procedure tells the two apart. (c) First layer: share of the squared move "
        "that lies in the span of the units at the start (circles), and mean squared "
        "cosine between that span and the one at the end (squares); dotted: a random "
        "direction. (d) Test images moved by what of the difference to another image "
        "lies in a null space of the first layer: change of the outputs over that by "
        "the whole difference (zero_hadamard has none at its start: its outputs are "
        "0). (e) Distance between test images of different classes "
        "over that of one class, in the second hidden layer; dotted: in the images. "
        "(f) Share of (unit, test image) gates that flipped; dotted, and in the "
        "legend: fitted power laws. Means and Student's 95 % intervals. Protocol: "
        f"{results.attrs['protocol']}"
    )
    starts = [str(name) for name in results["initialization"].to_numpy()]
    others = [name for name in starts if name != REFERENCE]
    ranking = read_rankings(results)["test_accuracy"]
    against = [difference(ranking, name, REFERENCE) for name in others]
    moved = results["output_change"]
    data: dict[str, Array] = {
        "step": results["step"].to_numpy(),
        "start": np.array(starts),
        "is_random": np.array([_is_random(results, name) for name in starts]),
        "test_loss": results["test_loss"]
        .transpose("initialization", "step", "replica")
        .to_numpy(),
        "other": np.array(others),
        "difference": np.array([[x["mean"], x["low"], x["high"]] for x in against]),
        "is_distinguished": np.array([x["is_distinguished"] for x in against]),
        "row_share": results["row_share"].to_numpy(),
        "row_overlap": results["row_overlap"].to_numpy(),
        "chance": np.array(results.attrs["width"] / results.attrs["num_inputs"]),
        "moved": np.stack(
            [moved.sel(move=move, moment=moment) for move, moment, _ in _MOVED]
        ),
        "class_ratio": results["class_ratio"]
        .sel(layer="hidden2")
        .transpose("moment", "initialization", "replica")
        .to_numpy(),
        "inputs_ratio": results["class_ratio_of_inputs"].to_numpy(),
        "width": results["width"].to_numpy(),
        "parametrization": results["parametrization"].to_numpy(),
        "flips": results["flips"].to_numpy(),
    }
    return Drawing("deterministic-start", 0, title, caption, data, paint)


def _is_random(results: xr.Dataset, name: str) -> bool:
    """Whether replicas start at different places."""
    norms = results["outside_start"].sel(initialization=name).to_numpy()
    return bool(np.ptp(norms) > 0)


def paint(data: Data, palette: Palette) -> Figure:
    """Three rows of two panels."""
    figure = new_figure(9.0)
    panels = figure.subplots(3, 2)
    _paint_losses(panels[0, 0], data, palette)
    _paint_differences(panels[0, 1], data, palette)
    _paint_spaces(panels[1, 0], data, palette)
    _paint_moves(panels[1, 1], data, palette)
    _paint_separation(panels[2, 0], data, palette)
    _paint_gates(panels[2, 1], data, palette)
    return figure


def _names(data: Data, key: str) -> list[str]:
    return [str(name) for name in data[key]]


def _paint_losses(axes: Axes, data: Data, palette: Palette) -> None:
    colours = (*palette.lines, palette.ink)
    random, fixed = 0, 0
    style: dict[str, Any]
    for place, name in enumerate(_names(data, "start")):
        if data["is_random"][place]:
            style = {"color": colours[random], "linestyle": "-"}
            random += 1
        else:
            style = {"color": colours[fixed], "linestyle": (0, (3, 2))}
            fixed += 1
        mean = np.exp(np.log(data["test_loss"][place]).mean(axis=-1))
        axes.plot(data["step"], mean, label=name, **style)
    label_log(axes)
    axes.set(xlabel="optimizer steps", ylabel="test loss (nat)")
    axes.legend(loc="upper right", handlelength=2.4)
    name_panel(axes, "a", "learning curves")


def _paint_differences(axes: Axes, data: Data, palette: Palette) -> None:
    names = _names(data, "other")
    axes.axvline(0, color=palette.faint, linewidth=0.8, zorder=0)
    for row, (mean, low, high) in enumerate(100 * data["difference"]):
        seen = data["is_distinguished"][row]
        colour = palette.lines[0]
        axes.plot([low, high], [row, row], color=colour, linewidth=0.9)
        inside = colour if seen else palette.paper
        axes.plot(mean, row, "o", markersize=4, color=colour, markerfacecolor=inside)
    axes.set_yticks(range(len(names)), labels=names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(f"test accuracy minus that of {REFERENCE} (points)")
    name_panel(axes, "b", "paired differences")


def _paint_spaces(axes: Axes, data: Data, palette: Palette) -> None:
    names = _names(data, "start")
    values = np.stack([data["row_share"], data["row_overlap"]])
    paint_groups(axes, values, names, palette, ["share of the move", "overlap"], 0.24)
    chance = float(data["chance"])
    axes.axvline(chance, color=palette.ink, linestyle=":", linewidth=1, label="chance")
    axes.set(xlim=(0, 1.03), xlabel="share in the initial span of the units")
    _paint_legend(axes, palette, rows=1.2, columns=3)
    name_panel(axes, "c", "move of the first layer")


def _paint_moves(axes: Axes, data: Data, palette: Palette) -> None:
    names = _names(data, "start")
    labels = [label for _, _, label in _MOVED]
    paint_groups(axes, data["moved"], names, palette, labels, 0.18)
    axes.axvline(0, color=palette.faint, linewidth=0.8, zorder=0)
    axes.set_xlabel("change of the outputs (share of a whole swap)")
    _paint_legend(axes, palette, rows=2.2, columns=2)
    name_panel(axes, "d", "images moved in a null space")


def _paint_legend(axes: Axes, palette: Palette, *, rows: float, columns: int) -> None:
    """A legend in empty rows at the bottom."""
    low, high = axes.get_ylim()
    axes.set_ylim(low + rows, high)
    axes.legend(
        loc="lower center",
        ncols=columns,
        handlelength=1.5,
        columnspacing=1,
        frameon=True,
        facecolor=palette.paper,
        edgecolor="none",
        framealpha=1,
    )


def _paint_separation(axes: Axes, data: Data, palette: Palette) -> None:
    names = _names(data, "start")
    labels = ["at the start", "trained"]
    paint_groups(axes, data["class_ratio"], names, palette, labels, 0.24)
    ratio = float(data["inputs_ratio"])
    axes.axvline(ratio, color=palette.ink, linestyle=":", linewidth=1, label="images")
    axes.set_xlabel("distance between classes over within (ratio)")
    _paint_legend(axes, palette, rows=1.2, columns=3)
    name_panel(axes, "e", "classes kept apart")


def _paint_gates(axes: Axes, data: Data, palette: Palette) -> None:
    width = data["width"]
    fits = [
        fit_power_law(dict(zip(map(int, width), values_WR, strict=True)))
        for values_WR in data["flips"]
    ]
    names = [
        f"{name}: width$^{{{-fit.exponent:.2f}}}$" if fit else name
        for name, fit in zip(_names(data, "parametrization"), fits, strict=True)
    ]
    paint_curves(axes, width, data["flips"], names, palette, "log")
    for fit in fits:
        if fit:
            axes.plot(width, fit(width), ":", linewidth=1, color=palette.ink)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.6 * axes.get_ylim()[0])
    axes.set(xlabel="width (units)", ylabel="gates flipped (share)")
    axes.legend(loc="lower left", handlelength=3)
    name_panel(axes, "f", "gates against width")
