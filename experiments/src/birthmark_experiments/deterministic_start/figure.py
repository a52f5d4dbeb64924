"""The figure of deterministic starts: losses, accuracies, and what a start leaves."""

from typing import Any

import numpy as np
import xarray as xr

from birthmark.figures import Drawing, Palette, label_log, name_panel, new_figure
from birthmark.statistics import fit_power_law
from ..frame.curves import Axes, Data, Figure, paint_curves, paint_groups, take
from ..frame.rankings import difference, read_rankings
from .protocol import REFERENCE

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
    starts = results["initialization"].to_numpy()
    others = starts[starts != REFERENCE]
    ranking = read_rankings(results)["test_accuracy"]
    against = [difference(ranking, str(name), REFERENCE) for name in others]
    moved = results["output_change"]
    names = ["step", "initialization", "test_loss", "row_share", "row_overlap"]
    names += ("class_ratio", "class_ratio_of_inputs", "width", "parametrization")
    order = ("moment", "initialization", "step", ..., "replica")
    data = take(results.sel(layer="hidden2"), names, *order) | {
        # whether replicas start at different places
        "is_random": np.ptp(results["outside_start"].to_numpy(), axis=1) > 0,
        "other": others,
        "difference": np.array([[x["mean"], x["low"], x["high"]] for x in against]),
        "is_distinguished": np.array([x["is_distinguished"] for x in against]),
        "chance": np.array(results.attrs["width"] / results.attrs["num_inputs"]),
        "moved": np.stack([moved.sel(move=a, moment=b) for a, b, _ in _MOVED]),
        "flips": results["flips"].to_numpy(),
    }
    return Drawing("deterministic-start", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """Three rows of two panels."""
    figure = new_figure(9.0)
    panels = figure.subplots(3, 2)
    _paint_losses(panels[0, 0], data, palette)
    _paint_differences(panels[0, 1], data, palette)
    names, dotted = list(data["initialization"]), {"linestyle": ":", "linewidth": 1}
    spaces, moves, classes = panels[1, 0], panels[1, 1], panels[2, 0]
    values = np.stack([data["row_share"], data["row_overlap"]])
    paint_groups(spaces, values, names, palette, ["of the move", "overlap"], 0.24)
    chance = float(data["chance"])
    spaces.axvline(chance, color=palette.ink, label="chance", **dotted)
    spaces.set(xlim=(0, 1.03), xlabel="share in the initial span of the units")
    _paint_legend(spaces, palette, rows=1.2, columns=3)
    name_panel(spaces, "c", "move of the first layer")
    labels = [label for _, _, label in _MOVED]
    paint_groups(moves, data["moved"], names, palette, labels, 0.18)
    moves.axvline(0, color=palette.faint, linewidth=0.8, zorder=0)
    moves.set_xlabel("change of the outputs (of a whole swap)")
    _paint_legend(moves, palette, rows=2.2, columns=2)
    name_panel(moves, "d", "images moved in a null space")
    labels = ["at the start", "trained"]
    paint_groups(classes, data["class_ratio"], names, palette, labels, 0.24)
    ratio = float(data["class_ratio_of_inputs"])
    classes.axvline(ratio, color=palette.ink, label="images", **dotted)
    classes.set_xlabel("distance between classes over within (ratio)")
    _paint_legend(classes, palette, rows=1.2, columns=3)
    name_panel(classes, "e", "classes kept apart")
    _paint_gates(panels[2, 1], data, palette)
    return figure


def _paint_losses(axes: Axes, data: Data, palette: Palette) -> None:
    # both kinds have the same colours
    colours = [iter((*palette.lines, palette.ink)) for _ in range(2)]
    rows = zip(
        data["initialization"], data["is_random"], data["test_loss"], strict=True
    )
    for name, is_random, loss in rows:
        dash: Any = "-" if is_random else (0, (3, 2))
        style = {"color": next(colours[int(is_random)]), "linestyle": dash}
        mean = np.exp(np.log(loss).mean(axis=-1))
        axes.plot(data["step"], mean, label=name, **style)
    label_log(axes)
    axes.set(xlabel="optimizer steps", ylabel="test loss (nat)")
    axes.set_xlim(right=1.15 * data["step"][-1])
    axes.legend(loc="upper right", handlelength=2.0, fontsize=6)
    name_panel(axes, "a", "learning curves")


def _paint_differences(axes: Axes, data: Data, palette: Palette) -> None:
    names = data["other"]
    axes.axvline(0, color=palette.faint, linewidth=0.8, zorder=0)
    for row, (mean, low, high) in enumerate(100 * data["difference"]):
        seen = data["is_distinguished"][row]
        colour = palette.lines[0]
        axes.plot([low, high], [row, row], color=colour, linewidth=0.9)
        inside = colour if seen else palette.paper
        axes.plot(mean, row, "o", markersize=4, color=colour, markerfacecolor=inside)
    axes.set_yticks(range(len(names)), labels=names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(f"test accuracy minus {REFERENCE}'s (points)")
    name_panel(axes, "b", "paired differences")


def _paint_legend(axes: Axes, palette: Palette, *, rows: float, columns: int) -> None:
    """A legend in empty rows at the bottom."""
    low, high = axes.get_ylim()
    axes.set_ylim(low + rows, high)
    box = {"frameon": True, "facecolor": palette.paper, "edgecolor": "none"}
    space = {"framealpha": 1, "handlelength": 1.5, "columnspacing": 1}
    axes.legend(loc="lower center", ncols=columns, **box, **space)


def _paint_gates(axes: Axes, data: Data, palette: Palette) -> None:
    width = data["width"]
    fits = [
        fit_power_law(dict(zip(map(int, width), values_WR, strict=True)))
        for values_WR in data["flips"]
    ]
    names = [
        f"{name}: width$^{{{-fit.exponent:.2f}}}$" if fit else name
        for name, fit in zip(data["parametrization"], fits, strict=True)
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
