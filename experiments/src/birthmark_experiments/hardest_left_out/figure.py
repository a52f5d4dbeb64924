"""The figure: accuracy and abandoned visits with all, and without some."""

from typing import Any

import numpy as np
import xarray as xr

from birthmark.figures import Drawing, Palette, choose_style, name_panel, new_figure
from ..frame.curves import Data, Figure, paint_replicas, take

_PANELS = {
    "train_accuracy": "train accuracy",
    "abandoned": "share of visits abandoned",
    "deviation": "std of the deviation\n(weight)",
}


def draw(results: xr.Dataset) -> Drawing:
    """Three panels; see the caption."""
    attrs = results.attrs
    title = "Without the examples that would be abandoned first"
    caption = (
        f"{title}. (a) Train accuracy of an epoch as it was visited; (b) share of the "
        "visits that were abandoned; (c) standard deviation of the deviation between "
        f"the hidden layers. A line a network, {results.sizes['replica']} an arm; "
        "shares are of the examples that are left. "
        f"Protocol: {attrs['protocol']}"
    )
    data = take(results, ("epoch", *_PANELS), "arm", "epoch", "replica")
    data["arm"] = results["arm"].to_numpy()
    return Drawing("hardest-left-out", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """Panels side by side, one legend."""
    figure = new_figure(3.1)
    panels: Any = figure.subplots(1, len(_PANELS))
    for axes, letter, (name, label) in zip(panels, "abc", _PANELS.items(), strict=True):
        for place, arm in enumerate(map(str, data["arm"])):
            style = choose_style(place, palette) | {"alpha": 0.8}
            paint_replicas(axes, data["epoch"], data[name][place], label=arm, **style)
        top = 1.02 if name != "deviation" else None
        axes.set(xlabel="epoch", ylabel=label, ylim=(0, top))
        axes.set_xlim(0, np.max(data["epoch"]))
        name_panel(axes, letter)
    legend = panels[0].get_legend_handles_labels()
    figure.legend(*legend, loc="outside lower center", ncols=3, handlelength=3)
    return figure
