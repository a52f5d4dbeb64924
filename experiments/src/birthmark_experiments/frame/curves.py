"""Curves over replicas: mean, interval, a colour and a dash for each start."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from birthmark.figures import Palette, choose_style
from birthmark.shapes import Array
from birthmark.statistics import summarize_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
else:  # for annotations: matplotlib is loaded where something is drawn
    Axes = Figure = Any

Data = Mapping[str, Array]  # everything that is drawn


def take(results: xr.Dataset, names: Iterable[str], *dims: Any) -> dict[str, Array]:
    """Variables and coordinates as arrays, their dims in this order where they are."""
    return {
        name: results[name].transpose(*dims, missing_dims="ignore").to_numpy()
        if dims
        else results[name].to_numpy()
        for name in names
    }


def stack_interval(values: Array, scale: Literal["linear", "log"] = "linear") -> Array:
    """Mean over the last axis, and both ends of its interval, [3, ...]."""
    found = summarize_curves(values, scale)
    return np.stack([found.mean, found.low, found.high])


def paint_marks(
    axes: Axes,
    x: Any,
    y: Any,
    marker: str,
    colour: str,
    *,
    fill: Any = "",
    **style: Any,
) -> None:
    """Points of one colour, hollow or filled with another one."""
    style = {"markersize": 4, "linestyle": "none", "color": colour, **style}
    axes.plot(x, y, marker=marker, markerfacecolor=fill or colour, **style)


def paint_curves(
    axes: Axes,
    x: Array,
    values_GXR: Array,
    names: Sequence[str],
    palette: Palette,
    scale: Literal["linear", "log"] = "linear",
) -> None:
    """One line a group with Student's 95 % interval of the mean (geometric if log)."""
    for place, (name, values_XR) in enumerate(zip(names, values_GXR, strict=True)):
        style = choose_style(place, palette)
        paint_band(axes, x, *stack_interval(values_XR, scale), label=name, **style)


def paint_band(
    axes: Axes, x: Array, mean: Array, low: Array, high: Array, **style: Any
) -> None:
    """One line with its interval, where there is a mean; the style has a colour."""
    known, colour = np.isfinite(mean), style["color"]
    axes.plot(x[known], mean[known], **style)
    band = low[known], high[known]
    axes.fill_between(x[known], *band, color=colour, alpha=0.2, linewidth=0)


def paint_intervals(
    axes: Axes,
    places: Array,
    values_3G: Array,
    *,
    is_upright: bool = False,
    **style: Any,
) -> None:
    """Marks with bars, where there is a mean; mean, low and high end lie along [3].

    Places are those along the other axis, the style is that of `Axes.errorbar`.
    """
    known = np.isfinite(values_3G[0])
    mean, low, high = values_3G[:, known]
    spread = np.nan_to_num(np.stack([mean - low, high - mean])).clip(min=0)
    x, y = (places[known], mean) if is_upright else (mean, places[known])
    style = {"markersize": 4, "elinewidth": 1, "capsize": 2} | style
    axes.errorbar(x, y, **style, **{"yerr" if is_upright else "xerr": spread})


def paint_replicas(
    axes: Axes, x: Array, values_XR: Array, *, label: str, **style: Any
) -> None:
    """A line a replica, all of one style, through the points that it has."""
    style.setdefault("linewidth", 0.9)
    for r, values_X in enumerate(values_XR.T):
        known = np.isfinite(values_X)
        name = label if r == 0 else None
        axes.plot(x[known], values_X[known], label=name, **style)


def paint_groups(
    axes: Axes,
    values_SGR: Array,
    names: Sequence[str],
    palette: Palette,
    labels: Sequence[str],
    step: float,
) -> None:
    """Rows of `paint_points` for several quantities, one below the other by a step."""
    for place, (values_GR, label) in enumerate(zip(values_SGR, labels, strict=True)):
        paint_points(
            axes,
            values_GR,
            names,
            palette,
            y=step * (place - (len(labels) - 1) / 2),
            marker="os^D"[place],
            colour=palette.lines[place],
            label=label,
        )


def paint_points(
    axes: Axes,
    values_GR: Array,
    names: Sequence[str],
    palette: Palette,
    *,
    y: float = 0.0,
    marker: str = "o",
    colour: str = "",
    label: str = "",
) -> None:
    """One row a group: its mean and interval over replicas, the first at the top.

    Marks lie by `y` below their row; the colour is the palette's first unless given.
    """
    colour = colour or palette.lines[0]
    style: dict[str, Any] = {"fmt": marker, "color": colour, "label": label or None}
    at = np.arange(len(names)) + y
    paint_intervals(axes, at, stack_interval(values_GR), **style)
    axes.set_yticks(range(len(names)), labels=list(names))
    axes.set_ylim(len(names) - 0.5, -0.5)
