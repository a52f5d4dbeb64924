"""Figure 3: the joint density of initial and final weights, and slices through it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from birthmark.analysis import Family, Pool
from birthmark.figures.canvas import name_panel, name_powers, new_figure
from birthmark.figures.captions import describe_protocol
from birthmark.figures.drawings import Drawing
from birthmark.figures.palettes import DENSITY, Palette
from birthmark.shapes import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patheffects import AbstractPathEffect

_DIAGONAL = "#D55E00"
_QUANTILES = (("-", "median"), ("--", "quartiles"), (":", "2 and 98 %"))
_SHOWN = 0.999  # share of the weights between the ends of the vertical axis


def draw_joint(family: Family) -> list[Drawing]:
    """One drawing, of the widest network that trains.

    Raises:
        NothingFoundError: No run has distributions.
    """
    pool = family.pool
    found, run = pool.conditionals, pool.run
    inner = slice(1, -1)  # the outermost bins of the current weight are open
    bound = found.bound
    edges, current_edges = bound * found.edges, bound * found.current_edges[inner]
    counts = found.counts[:, inner]
    slices = np.array([0, len(counts) // 2, len(counts) - 1])
    per_slice = np.maximum(found.counts[slices].sum(axis=1, keepdims=True), 1)
    data = {
        "edges": edges,
        "current_edges": current_edges,
        "density": found.density[:, inner] / bound**2,
        "levels": np.array(found.levels),
        "quantiles": bound * found.quantiles,
        "slices": slices,
        "slice_density": counts[slices] / per_slice / np.diff(current_edges),
        "limits": _limits(found.counts.sum(axis=0), bound * found.current_edges, edges),
    }
    title = f"Final against initial weights at {family.say(run)}"
    caption = (
        f"{title}, {found.layer}, epoch {found.epoch}. (a) Joint density of initial "
        "and final value (log colour), with median, quartiles, 2 and 98 % quantiles "
        "of the final value given the initial one, and the diagonal: the null model "
        "of weights that did not move. (b) Histograms of the final value in three "
        f"bins of the initial one, each {edges[1] - edges[0]:.2g} wide; dotted: their "
        f"initial values. The vertical axis shows {100 * _SHOWN:g} % of the "
        f"{found.counts.sum():,} weights; counts, so no interval. "
        f"{describe_pool(pool)}"
    )
    name = f"figure3-joint-{family.name}-{family.stem(run)}"
    protocol = describe_protocol([run])
    return [Drawing(name, 3, title, caption, data, paint, protocol, family.name)]


def describe_pool(pool: Pool) -> str:
    """Which replicas are pooled, and whether some of their weights were marked."""
    n, total = len(pool.places), pool.run.arrays.sizes["replica"]
    some = f"all {total}" if n == total else f"{n} of {total}"
    sentence = f"Pooled over {some} replicas, {' and '.join(pool.learners)} learners"
    if n < total:
        sentence += " (the others are left out)"
    mark = pool.run.spec.mark
    if mark is not None and mark.layer == pool.conditionals.layer:
        sentence += (
            "; weights under the mark are among them, and start from values of their "
            "own (0 where the mark is of zeros)"
        )
    return f"{sentence}."


def _limits(counts: Array, current_edges: Array, edges: Array) -> Array:
    """Ends of the vertical axis: nearly all weights, and the whole diagonal."""
    share = np.concatenate([[0.0], np.cumsum(counts)]) / max(counts.sum(), 1)
    tail = (1 - _SHOWN) / 2
    low, high = np.interp([tail, 1 - tail], share, current_edges)
    return np.array([min(low, edges[0]), max(high, edges[-1])]) * 1.05


def paint(data: Mapping[str, Array], palette: Palette) -> Figure:
    """The density at the left, three slices at the right on the same vertical axis."""
    figure = new_figure(3.6)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.5, 1])
    _paint_density(left, data)
    _paint_slices(right, data, palette)
    name_panel(left, "a")
    name_panel(right, "b")
    return figure


def _paint_density(axes: Axes, data: Mapping[str, Array]) -> None:
    edges, density = data["edges"], data["density"]
    mesh = axes.pcolormesh(
        edges,
        data["current_edges"],
        np.ma.masked_less_equal(density.T, 0),
        norm="log",
        cmap=DENSITY,
        rasterized=True,
    )
    centres = (edges[1:] + edges[:-1]) / 2
    middle = len(data["levels"]) // 2
    for place, (level, values) in enumerate(
        zip(data["levels"], data["quantiles"], strict=True)
    ):
        dash, label = _QUANTILES[abs(place - middle)]
        axes.plot(
            centres,
            values,
            dash,
            color="white",
            linewidth=0.9,
            path_effects=_outline(),
            label=label if level <= 0.5 else None,
        )
    ends = edges[[0, -1]]
    axes.plot(
        ends,
        ends,
        color=_DIAGONAL,
        linewidth=1.1,
        linestyle=(0, (4, 6)),
        label="final = initial",
    )
    axes.set(xlim=ends, ylim=data["limits"])
    axes.set(xlabel="initial weight", ylabel="final weight")
    axes.locator_params(axis="x", nbins=5)
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.02)
    # above the bar: beside it, it reads like the axis of the panel to the right
    bar.ax.set_title("density\n(1 / weight²)", fontsize=7)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4)


def _outline() -> list[AbstractPathEffect]:
    """A dark seam, so that white lines show on any ground."""
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=1.9, foreground="black"), Normal()]


def _paint_slices(axes: Axes, data: Mapping[str, Array], palette: Palette) -> None:
    centres = (data["edges"][1:] + data["edges"][:-1]) / 2
    top = data["slice_density"].max()
    for place, density, colour in zip(
        data["slices"], data["slice_density"], palette.lines, strict=False
    ):
        start = centres[place]
        axes.stairs(
            density,
            data["current_edges"],
            orientation="horizontal",
            baseline=top / 1e5,
            color=colour,
            linewidth=1.1,
            label=f"{start:+.2g}".replace("-", "−") if abs(start) > 1e-9 else "0",
        )
        axes.axhline(start, color=colour, linewidth=0.7, linestyle=":")
    axes.set(xscale="log", xlabel="density (1 / weight)", xlim=(top / 1e3, top * 1.6))
    name_powers(axes.xaxis)
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.16),
        ncols=3,
        title="initial weight",
        title_fontsize=7,
    )
