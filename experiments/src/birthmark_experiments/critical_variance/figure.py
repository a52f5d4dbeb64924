"""Order, chaos and the depth that can be trained, against the variance of weights."""

from typing import Any

import numpy as np
import xarray as xr

from birthmark.figures import (
    DENSITY,
    SHORT_DASHES,
    Drawing,
    Palette,
    name_panel,
    new_figure,
)
from ..frame.curves import (
    Axes,
    Data,
    Figure,
    paint_band,
    paint_intervals,
    paint_marks,
    stack_interval,
    take,
)
from .facts import REACH

_SHOWN = (1.0, 1.5, 1.75, 2.5, 4.0)  # variances whose curves are drawn
_MARKERS = "osD^v"
_READ = ("last", "chi", "scale")


def draw(results: xr.Dataset) -> Drawing:
    """Correlations, gradients, readings beside theory, and losses after training."""
    shown = [v for v in results["variance"].to_numpy() if v in _SHOWN]
    limits = [f"fine_{x}_limit" for x in ("correlation", "chi", "depth", "gradient")]
    names = ("layer", "variance", "fine_variance", "depth", "scale_expected", *limits)
    data = take(results, names) | {"shown": np.array(shown)}
    tanh = results.sel(activation="tanh", variance=shown)
    orders = {
        "correlation": ("variance", "start", "layer"),
        "gradient": ("variance", "layer"),
    }
    for name, dims in orders.items():
        found = take(tanh, (name, f"{name}_theory"), *dims, "replica")
        data |= found | {name: stack_interval(found[name])}
    for name in _READ:
        data[f"{name}_read"] = stack_interval(results[f"{name}_read"].to_numpy())
    guess = np.log(10)
    loss = np.nan_to_num(results["test_loss"].to_numpy(), nan=np.inf)
    data["loss"] = np.minimum(loss, guess).mean(-1)  # [activation, variance, depth]
    title = "Variance of the weights: order, chaos and the depth that can be trained"
    replicas = results.sizes["replica"]
    caption = (
        f"{title}. Marks and bands: means over n = {replicas} networks with Student's "
        "95 % interval; dotted or in ink: mean-field theory, nothing fitted. "
        "(a) Correlation of two inputs, layer by layer, tanh: pairs that start at 0 "
        "and at 0.9 tend to one value. (b) Second moment of the gradient by layer, "
        "over that of the last layer, tanh. (c) Correlation in the last 8 layers, "
        "where both starts have met; theory: c*. (d) Factor of the gradient's second "
        "moment per layer. (e) Depth scale, tanh: how quickly the two starts of (a) "
        "come together; the line is the limit of theory, squares are theory's own "
        "curve, read in the same layers as the networks. (f, g) Test loss after "
        "training (mean of the replicas, each at most that of a guess, ln 10, which "
        "NaN counts as); the lines are 6 depth scales: of the correlation with tanh, "
        f"of the second moment with ReLU. Protocol: {results.attrs['protocol']}"
    )
    return Drawing("critical-variance", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """Three rows: curves, readings, trainability."""
    figure = new_figure(7.6)
    rows: Any = figure.subfigures(3, 1, height_ratios=(1.05, 0.9, 1.0))
    curves = rows[0].subplots(1, 2)
    _paint_curves(curves[0], data, "correlation", palette)
    curves[0].set_ylabel("correlation of two inputs")
    name_panel(curves[0], "a", "tanh")
    _paint_curves(curves[1], data, "gradient", palette)
    curves[1].set_ylabel("gradient's second moment,\nover the last layer's (log$_2$)")
    name_panel(curves[1], "b", "tanh")
    handles, labels = curves[0].get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i] == "theory")
    handles, labels = [handles[i] for i in order], [labels[i] for i in order]
    rows[0].legend(handles, labels, loc="outside lower center", ncols=6, handlelength=3)
    readings = rows[1].subplots(1, 3)
    for axes, letter, name in zip(readings, "cde", _READ, strict=True):
        _paint_reading(axes, data, name, palette)
        name_panel(axes, letter)
    maps = rows[2].subplots(1, 2)
    for place, (axes, letter) in enumerate(zip(maps, "fg", strict=True)):
        image = _paint_map(axes, data, place, palette)
        name_panel(axes, letter, ("tanh", "ReLU")[place])
    bar = rows[2].colorbar(image, ax=list(maps), fraction=0.04, pad=0.02)
    bar.set_label("test loss (nat)")
    return figure


def _paint_curves(axes: Axes, data: Data, name: str, palette: Palette) -> None:
    layer = data["layer"]
    for place, variance in enumerate(data["shown"]):
        theory = np.atleast_2d(data[f"{name}_theory"][place])
        curves_3SL = data[name][:, place].reshape(3, *theory.shape)
        for start, theory_L in enumerate(theory):
            label = f"$\\sigma_w^2$ = {variance:g}" if start == 0 else None
            style = {"color": palette.lines[place], "linestyle": SHORT_DASHES[place]}
            paint_band(axes, layer, *curves_3SL[:, start], label=label, **style)
            label = "theory" if place == 0 and start == 0 else None
            style = {"color": palette.ink, "linestyle": ":", "linewidth": 0.8}
            axes.plot(layer, theory_L, label=label, **style)
    axes.set_xlabel("layer")


def _paint_reading(axes: Axes, data: Data, name: str, palette: Palette) -> None:
    """Measured values with intervals over theory's line, for both activations."""
    fine = data["fine_variance"]
    lines = {
        "last": ("fine_correlation_limit", "correlation, last layers"),
        "chi": ("fine_chi_limit", "$\\chi_1$, factor a layer"),
        "scale": ("fine_depth_limit", "depth scale $\\xi_c$ (layers)"),
    }
    limit, label = lines[name]
    kinds = ("tanh",) if name == "scale" else ("tanh", "ReLU")
    for place, kind in enumerate(kinds):
        axes.plot(fine, data[limit][place], color=palette.ink, linewidth=0.8)
        style: dict[str, Any] = {"fmt": _MARKERS[place], "color": palette.lines[place]}
        style |= {"markersize": 3.5, "elinewidth": None, "linewidth": 0.9}
        values_3V = data[f"{name}_read"][:, place]
        paint_intervals(
            axes, data["variance"], values_3V, is_upright=True, label=kind, **style
        )
    if name == "scale":
        x, y = data["variance"], data["scale_expected"][0]
        style = {"markersize": 6.5, "markeredgewidth": 0.7}
        style["label"] = "theory, same layers"
        paint_marks(axes, x, y, "s", palette.ink, fill="none", **style)
        axes.set(yscale="log", ylim=(1, 200))
    if name == "chi":
        axes.axhline(1, color=palette.faint, linewidth=0.7, zorder=0)
    axes.legend(handlelength=1.2)
    axes.set(ylabel=label, xlabel="$\\sigma_w^2$")


def _paint_map(axes: Axes, data: Data, place: int, palette: Palette) -> object:
    """Loss over variance and depth, each measured pair a cell of equal size."""
    variance, depth = data["variance"], data["depth"]
    edges = [np.arange(len(values) + 1) - 0.5 for values in (variance, depth)]
    style: dict[str, Any] = {"cmap": DENSITY, "vmin": 0.3, "vmax": float(np.log(10))}
    image = axes.pcolormesh(*edges, data["loss"][place].T, rasterized=True, **style)
    limit = data["fine_depth_limit" if place == 0 else "fine_gradient_limit"][place]
    # depths are placed by their number; beyond the chart the line goes on as it may
    known = np.log([depth[0] / 2, *depth, 2 * depth[-1]])
    x = np.interp(data["fine_variance"], variance, np.arange(len(variance)))
    reach = np.log(np.minimum(REACH * limit, 2.0 * depth[-1]))
    y = np.interp(reach, known, np.arange(-1, len(depth) + 1))
    for colour, width in (("#ffffff", 2.6), ("#D55E00", 1.4)):  # on dark and bright
        axes.plot(x, y, color=colour, linewidth=width)
    axes.set_ylim(-0.5, len(depth) - 0.5)
    axes.set_xticks(range(len(variance)), labels=[f"{v:g}" for v in variance])
    axes.set_yticks(range(len(depth)), labels=[str(d) for d in depth])
    axes.set(xlabel="$\\sigma_w^2$", ylabel="hidden layers")
    return image
