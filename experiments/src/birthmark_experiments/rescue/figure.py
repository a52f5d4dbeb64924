"""The figure of interventions at the onset: a panel each, a line each replica."""

from typing import Any

import numpy as np
import xarray as xr

from birthmark.figures import Drawing, Palette, name_panel, new_figure
from birthmark.shapes import Array
from ..frame.curves import Data, Figure, paint_replicas

_COLUMNS = 4
_LINES = {
    "train_accuracy": ("train accuracy", "-"),
    "below_eps": ("share below the clip", "--"),
}


def draw(results: xr.Dataset) -> Drawing:
    """A panel an intervention; see the caption."""
    attrs = results.attrs
    title = "Interventions at the onset of abandoning"
    caption = (
        f"{title}. Each panel: what was done at 0. Lines: train accuracy, and share of "
        "the examples whose true class had a probability below "
        f"{attrs['eps']:g} when visited, of {results.sizes['replica']} replicas; at "
        "0: at the onset; dotted: mean accuracy there, to which rescued replicas come "
        "back. Put back: these weights and biases (hidden1: between the pixels and the "
        "first hidden layer) have their initial values again. Loss from logits: taken "
        "without the clip, and the examples below it are still counted. "
        f"Protocol: {attrs['protocol']}"
    )
    names = [str(name).replace(" x ", " × ") for name in results["intervention"].values]
    data: dict[str, Array] = {"name": np.array(names)}
    for name in _LINES:
        after = results[name].transpose("intervention", "epoch_after", "replica")
        first = np.broadcast_to(
            results[f"onset_{name}"].to_numpy(), (len(after), 1, after.shape[2])
        )
        data[name] = np.concatenate([first, after.to_numpy()], axis=1)
    data["epoch"] = np.arange(results.sizes["epoch_after"] + 1)
    return Drawing("rescue", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """Panels on common axes, one legend."""
    names = [str(name) for name in data["name"]]
    rows = -(-len(names) // _COLUMNS)
    figure = new_figure(0.6 + 1.9 * rows)
    panels = figure.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False)
    at_onset = float(data["train_accuracy"][0, 0].mean())
    colours = dict(zip(_LINES, palette.lines, strict=False))
    for place, (axes, name) in enumerate(zip(panels.flat, names, strict=False)):
        for curve, (_, dash) in _LINES.items():
            style: dict[str, Any] = {"linestyle": dash, "color": colours[curve]}
            style |= {"linewidth": 0.8, "alpha": 0.8}
            paint_replicas(axes, data["epoch"], data[curve][place], label="", **style)
        axes.axhline(at_onset, color=palette.faint, linestyle=":", linewidth=1)
        axes.set_ylim(0, 1.02)
        name_panel(axes, "abcdefgh"[place], name if place else f"{name} done")
    for axes in panels[-1]:
        axes.set_xlabel("epochs after the onset")
    for axes in panels[:, 0]:
        axes.set_ylabel("share of the examples")
    for curve, (label, dash) in _LINES.items():
        panels.flat[0].plot([], [], dash, color=colours[curve], label=label)
    label = "accuracy at the onset (mean)"
    panels.flat[0].plot([], [], ":", color=palette.faint, linewidth=1, label=label)
    legend = panels.flat[0].get_legend_handles_labels()
    figure.legend(*legend, loc="outside lower center", ncols=3, handlelength=4)
    return figure
