"""Figure 4: moments and peak of the deviation, given the initial weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from birthmark.analysis import Family
from birthmark.figures.canvas import name_panel, new_figure
from birthmark.figures.captions import describe_protocol
from birthmark.figures.drawings import Drawing
from birthmark.figures.joint import describe_pool
from birthmark.figures.palettes import Palette
from birthmark.shapes import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOMENTS = ("mean", "std", "skewness", "kurtosis")


def draw_moments(family: Family) -> list[Drawing]:
    """One drawing, of the same weights as Figure 3.

    Raises:
        NothingFoundError: No run has distributions.
    """
    pool = family.pool
    found, run = pool.conditionals, pool.run
    edges = found.bound * found.edges
    centres = (edges[1:] + edges[:-1]) / 2
    data = {
        "initial": centres,
        "median": found.quantiles[found.levels.index(0.5)] * found.bound - centres,
        "peak": found.peak,
        "peak_low": found.peak_low,
        "peak_high": found.peak_high,
    }
    for name in _MOMENTS:
        data[name] = getattr(found.moments, name)
        data[f"{name}_error"] = getattr(found.moments, f"{name}_error")
    n = len(pool.places)
    intervals = (
        f"Bands: twice the standard error, bootstrap over the {n} replicas; bars of "
        "the peak: 95 % (Student's t, jackknife)."
        if n > 1
        else "A single replica: no intervals."
    )
    title = f"Deviation given the initial weight at {family.say(run)}"
    caption = (
        f"{title}, {found.layer}, epoch {found.epoch}: (a) mean, median and peak (mode "
        f"of a kernel density, bins of {np.nanmedian(found.peak_resolution):.2g}), (b) "
        "standard deviation, (c) skewness, (d) excess kurtosis of the deviation in "
        "each bin of the initial weight. Dashed: the null model of a Gaussian "
        "deviation that knows nothing of the initial weight (mean, skewness and "
        f"excess kurtosis 0). {intervals} {describe_pool(pool)}"
    )
    name = f"figure4-moments-{family.name}-{family.stem(run)}"
    protocol = describe_protocol([run])
    return [Drawing(name, 4, title, caption, data, paint, protocol, family.name)]


def paint(data: Mapping[str, Array], palette: Palette) -> Figure:
    """Four panels over the initial weight."""
    figure = new_figure(4.2)
    axes = figure.subplots(2, 2, sharex=True)
    labels = (
        "mean, median, peak (weight)",
        "standard deviation (weight)",
        "skewness",
        "excess kurtosis",
    )
    for panel, letter, name, label in zip(
        axes.flat, "abcd", _MOMENTS, labels, strict=True
    ):
        _paint_moment(panel, data, name, palette)
        if name != "std":
            panel.axhline(
                0, color=palette.faint, linewidth=0.8, linestyle="--", zorder=0
            )
        panel.set_ylabel(label)
        name_panel(panel, letter)
    _paint_locations(axes[0, 0], data, palette)
    for panel in axes[1]:
        panel.set_xlabel("initial weight")
    return figure


def _paint_moment(
    axes: Axes, data: Mapping[str, Array], name: str, palette: Palette
) -> None:
    x, y, error = data["initial"], data[name], data[f"{name}_error"]
    axes.plot(x, y, color=palette.train, label="mean" if name == "mean" else None)
    axes.fill_between(
        x, y - 2 * error, y + 2 * error, color=palette.train, alpha=0.3, linewidth=0
    )


def _paint_locations(axes: Axes, data: Mapping[str, Array], palette: Palette) -> None:
    x, peak = data["initial"], data["peak"]
    axes.plot(x, data["median"], color=palette.lines[2], linestyle="-.", label="median")
    spread = np.stack([peak - data["peak_low"], data["peak_high"] - peak])
    axes.errorbar(
        x,
        peak,
        yerr=np.nan_to_num(spread).clip(min=0),
        fmt="o",
        markersize=2.2,
        elinewidth=0.7,
        color=palette.test,
        label="peak",
    )
    axes.legend(loc="best")
