"""The figure of pre-trained starts: accuracy and distance, a row a task."""

import numpy as np
import xarray as xr

from birthmark.figures import Drawing, Palette, name_panel, new_figure
from ..frame.curves import Data, Figure, paint_curves, take

_PANELS = {
    "test_accuracy": "test accuracy (share)",
    "distance": "distance travelled (weight)",
}


def draw(results: xr.Dataset) -> Drawing:
    """Two panels a task; see the caption."""
    title = "A pre-trained start against random ones and its controls"
    caption = (
        f"{title}. Left: test accuracy in the second task; right: L2 distance of all "
        "weights and biases from the start of the second task; one row a task. Lines: "
        "means over replicas; bands: Student's 95 % interval of the mean, "
        f"n = {results.sizes['replica']}. Fresh head: the output layer is drawn anew, "
        "as in both controls. Statistics only: weights drawn anew with the mean and "
        "variance of each trained tensor; shuffled: the trained weights in random "
        f"places of their tensor. Protocol: {results.attrs['protocol']}"
    )
    dims = ("task", "initialization", "epoch", "replica")
    data = take(results, (*_PANELS, *dims[:3]), *dims)
    return Drawing("pretrained-start", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """A row a task, one legend for all."""
    tasks, starts = data["task"], [str(name) for name in data["initialization"]]
    figure = new_figure(0.7 + 2.3 * len(tasks))
    panels = figure.subplots(len(tasks), len(_PANELS), squeeze=False)
    letters = iter("abcdefgh")
    for row, task in enumerate(tasks):
        for axes, (name, label) in zip(panels[row], _PANELS.items(), strict=True):
            paint_curves(axes, data["epoch"], data[name][row], starts, palette)
            axes.set(xlabel="epochs of the second task", ylabel=label)
            axes.set_xticks(np.arange(0, data["epoch"][-1] + 1, 2))
            name_panel(axes, next(letters), str(task))
    legend = panels.flat[0].get_legend_handles_labels()
    figure.legend(*legend, loc="outside lower center", ncols=3, handlelength=3)
    return figure
