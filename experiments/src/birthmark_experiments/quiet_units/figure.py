"""The figure: activity against movement of units, and the density without some."""

from typing import Any

import numpy as np
import xarray as xr

from birthmark.figures import Drawing, Palette, choose_style, name_panel, new_figure
from ..frame.curves import Axes, Data, Figure, paint_band, stack_interval, take
from .facts import NUM_BINS, QUIET, SELECTIONS, STILL, WIDTH_OF_BINS

_SILENT = 1e-4  # of the images: what is drawn where a unit is active on fewer
_LABELS = {
    "all": "all units",
    "active": "without quiet units",
    "moving": "without still rows",
}


def draw(results: xr.Dataset) -> Drawing:
    """A row a background; see the caption."""
    last = int(results["kept_epoch"][-1])
    now = results.sel(kept_epoch=last)
    title = "Quiet units and the peak at the initial weight"
    caption = (
        f"{title}, at epoch {last}; above on a white background, below on a black one. "
        "Left: for each unit of the first hidden layer, the share of the training "
        f"images that activate it (at least {_SILENT:g} is drawn) and the rms "
        "deviation of the weights out of it, in units of the initial bound; a colour a "
        f"network. Dotted: units below {QUIET:g} are quiet, rows up to {STILL:g} are "
        "still. Right: density of the size of the deviation of all weights, of those "
        "out of units that are not quiet, and of rows that are not still; means over "
        f"{now.sizes['replica']} networks with Student's 95 % interval. "
        f"Protocol: {results.attrs['protocol']}"
    )
    data = take(now, ("activity", "moved"), "background", "replica", "unit")
    data |= take(now, ("density",), "background", "selection", "bin", "replica")
    data |= {"background": now["background"].to_numpy(), "bin": now["bin"].to_numpy()}
    return Drawing("quiet-units", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """Units on the left, densities on the right."""
    figure = new_figure(4.6)
    panels: Any = figure.subplots(2, 2, sharex="col", sharey="col")
    for row, name in enumerate(map(str, data["background"])):
        units, density = panels[row]
        _paint_units(units, data["activity"][row], data["moved"][row], palette)
        _paint_density(density, data["bin"], data["density"][row], palette)
        name_panel(units, "ac"[row], f"{name} background")
        name_panel(density, "bd"[row], f"{name} background")
    panels[1, 0].set_xlabel("share of the images that activate the unit")
    panels[1, 1].set_xlabel("|deviation| (initial bound)")
    panels[0, 1].legend()
    return figure


def _paint_units(axes: Axes, activity: Any, moved: Any, palette: Palette) -> None:
    for r, (x, y) in enumerate(zip(activity, moved, strict=True)):
        style: dict[str, Any] = {"color": palette.lines[r], "markersize": 2.5}
        axes.plot(
            np.maximum(x, _SILENT),
            y,
            "os^"[r % 3],
            alpha=0.7,
            linestyle="none",
            **style,
        )
    axes.axvline(QUIET, color=palette.ink, linestyle=":", linewidth=1)
    axes.axhline(STILL, color=palette.ink, linestyle=":", linewidth=1)
    axes.set(xscale="log", ylim=(0, None))
    axes.set_ylabel("rms deviation of the\nweights out of it (bound)")


def _paint_density(axes: Axes, bins: Any, density: Any, palette: Palette) -> None:
    for place, name in enumerate(SELECTIONS):
        style = choose_style(place, palette)
        paint_band(
            axes, bins, *stack_interval(density[place]), label=_LABELS[name], **style
        )
    axes.set(xlim=(0, NUM_BINS * WIDTH_OF_BINS), ylim=(0, None), ylabel="density")
