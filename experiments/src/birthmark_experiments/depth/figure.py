"""Thirty layers: the signal at the start by layer, and the loss by step."""

import numpy as np
import xarray as xr

from birthmark.figures import SHORT_DASHES, Drawing, Palette, name_panel, new_figure
from ..frame.curves import Axes, Data, Figure, paint_band, stack_interval, take

_ROWS = {
    "forward": ("second moment over\nthe inputs' (log$_2$)", "layer"),
    "gap": ("1 - correlation of\ntwo inputs (log$_{10}$)", "layer"),
    "backward": ("gradient's second\nmoment (log$_2$)", "layer"),
    "test_loss": ("test loss (nat)", "step"),
}
_TITLES = {"dense": "dense, MNIST", "convolutional": "convolutional, CIFAR-10"}


def draw(results: xr.Dataset) -> Drawing:
    """Four rows of panels, one column a network."""
    data = take(results, ("network", "initialization", "layer", "step"))
    for name, (_, axis) in _ROWS.items():
        repeated = "draw" if axis == "layer" else "replica"
        dims = ("network", "initialization", axis, repeated)
        data[name] = stack_interval(results[name].transpose(*dims).to_numpy())
        if axis == "layer":
            theory = results[f"{name}_theory"].transpose(*dims).to_numpy()
            data[f"{name}_theory"] = theory.mean(axis=-1)
    draws, replicas = results.sizes["draw"], results.sizes["replica"]
    depth = results.sizes["layer"]
    title = f"{depth} ReLU layers: the signal at the start, and who learns"
    caption = (
        f"{title}. Columns: a dense and a convolutional network. Rows, against the "
        "layer: (a, b) second moment of the pre-activations over that of the inputs; "
        "(c, d) one minus the correlation of two inputs, mean over pairs: the lower, "
        "the less can they be told apart (not below 1e-12, where rounding begins); "
        "(e, f) second moment of the loss gradient by the pre-activations of a layer. "
        "Against the step: (g, h) test loss; the thin line is that of a guess, ln 10. "
        f"Lines: means over n = {draws} initial configurations (a to f) or {replicas} "
        "replicas (g, h); bands: Student's 95 % interval of the mean; dotted in ink: "
        "mean-field theory of infinite width (in (e, f) from the measured gradient "
        f"behind the hidden layers on). Protocol: {results.attrs['protocol']}"
    )
    return Drawing("depth", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """One legend for all panels; the two networks share the axes of signals."""
    figure = new_figure(8.2)
    panels = figure.subplots(len(_ROWS), len(data["network"]))
    for left, *others in panels[:-1]:
        for axes in others:
            axes.sharey(left)
    letters = iter("abcdefgh")
    for row, (name, (label, axis)) in enumerate(_ROWS.items()):
        for column, network in enumerate(data["network"]):
            axes = panels[row, column]
            _paint(axes, data, name, column, palette)
            heading = _TITLES[str(network)] if row == 0 else ""
            name_panel(axes, next(letters), heading)
            axes.set_xlabel("layer" if axis == "layer" else "optimizer steps")
        panels[row, 0].set_ylabel(label)
    figure.align_ylabels(panels[:, 0])
    legend = panels[0, 0].get_legend_handles_labels()
    figure.legend(*legend, loc="outside lower center", ncols=3, handlelength=4)
    return figure


def _paint(axes: Axes, data: Data, name: str, column: int, palette: Palette) -> None:
    axis = _ROWS[name][1]
    x = data[axis]
    if name == "test_loss":
        axes.axhline(np.log(10), color=palette.faint, linewidth=0.7, zorder=0)
    for place, start in enumerate(data["initialization"]):
        style = {"color": palette.lines[place], "linestyle": SHORT_DASHES[place]}
        paint_band(axes, x, *data[name][:, column, place], label=str(start), **style)
    if axis == "layer":
        style = {"color": palette.ink, "linestyle": ":", "linewidth": 0.8}
        for place, theory_L in enumerate(data[f"{name}_theory"][column]):
            label = None if place else "theory"
            axes.plot(x, theory_L, label=label, **style)
