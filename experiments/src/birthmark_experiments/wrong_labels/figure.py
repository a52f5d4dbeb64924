"""The figure: losses, abandoned visits and deviation, with and without the examples."""

from typing import Any

import xarray as xr

from birthmark.figures import Drawing, Palette, label_log, name_panel, new_figure
from ..frame.curves import Data, Figure, paint_replicas, take
from .facts import ALL, WITHOUT

_LINES = {ALL: "-", WITHOUT: "--"}
_PANELS = {
    "train_loss": ("train loss (nat)", "log"),
    "share": ("abandoned visits (%)", "log"),
    "deviation": ("std of the deviation\n(weight)", "linear"),
}


def draw(results: xr.Dataset) -> Drawing:
    """Three panels; see the caption."""
    attrs = results.attrs
    title = "Without the examples that are abandoned first"
    caption = (
        f"{title}. Networks of the paper's width {attrs['width']}, each with all "
        f"examples and from the same start without {attrs['num_left_out']} of "
        f"{attrs['num_examples']}: those that all replicas have below the clip at "
        f"epoch {attrs['early']}. (a) Train loss of the epoch; (b) share of the visits "
        "that were abandoned; (c) standard deviation of the deviation between the "
        "hidden layers. A line a network. "
        f"Protocol: {attrs['protocol']}"
    )
    share = 100 * results["abandoned"] / attrs["num_examples"]
    results = results.assign(share=share.where(share > 0))
    data = take(results, ("epoch", *_PANELS), "examples", "epoch", "replica")
    data["examples"] = results["examples"].to_numpy()
    return Drawing("wrong-labels", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """Panels side by side, one legend."""
    figure = new_figure(2.7)
    panels: Any = figure.subplots(1, len(_PANELS))
    for axes, letter, (name, (label, scale)) in zip(
        panels, "abc", _PANELS.items(), strict=True
    ):
        for place, arm in enumerate(map(str, data["examples"])):
            style = {"color": palette.lines[place], "linestyle": _LINES[arm]}
            paint_replicas(axes, data["epoch"], data[name][place], label=arm, **style)
        axes.set(xlabel="epoch", ylabel=label, yscale=scale)
        if scale == "log":
            label_log(axes)
        name_panel(axes, letter)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2
    )
    return figure
