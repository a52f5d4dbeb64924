"""How far each layer has moved from its start, while it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from birthmark.analysis import Family, NothingFoundError, Run, find_layers, name_layer
from birthmark.figures.canvas import label_log, new_figure
from birthmark.figures.captions import describe_protocol
from birthmark.figures.drawings import Drawing
from birthmark.figures.palettes import DENSITY, Palette
from birthmark.shapes import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

PANELS = 3  # runs, along the axis
_MOST_LINES = 6  # layers; more are drawn as a map
_FEW = 3  # records, of which a line would show nothing


def draw_layers(family: Family) -> list[Drawing]:
    """One drawing: the first, the middle and the last value of the axis.

    Raises:
        NothingFoundError: No run has measurements of its layers.
    """
    chosen = _choose(family)
    if not chosen:
        raise NothingFoundError("no run has measured how far its layers have moved yet")
    data: dict[str, Array] = {
        "runs": np.array([family.say(runs[0]) for runs in chosen]),
        "clock": np.array(chosen[0][0].clock),
    }
    numbers = []
    for place, runs in enumerate(chosen):
        found = find_layers(runs)
        numbers.append(found.num_replicas)
        data |= {
            f"layers_{place}": np.array([name_layer(one) for one in found.layers]),
            f"epochs_{place}": found.epochs,
            f"mean_{place}": found.mean,
            f"low_{place}": found.low,
            f"high_{place}": found.high,
        }
    title = "Relative distance from the start by layer"
    caption = (
        f"{title}: norm of the deviation of the weights over the norm of the initial "
        f"weights, geometric mean over replicas ({', '.join(map(str, numbers))}) of "
        f"{'; '.join(data['runs'])}; bands: "
        "Student's 95 % interval (a single replica has no interval). Dashed: an "
        "independent second draw, 1.41, the null model of a start that is forgotten."
    )
    name = f"layers-{family.name}"
    protocol = describe_protocol([run for runs in chosen for run in runs])
    return [Drawing(name, 0, title, caption, data, paint, protocol, family.name)]


def _choose(family: Family) -> list[list[Run]]:
    """The runs at each of the values shown."""
    study = family.study
    every = [
        [run for run in study.at(value) if "relative_distance" in run.arrays]
        for value in study.axis.values
    ]
    known = [runs for runs in every if runs]
    places = np.linspace(0, len(known) - 1, min(PANELS, len(known)))
    return [known[int(i)] for i in np.unique(places.round())]


def paint(data: Mapping[str, Array], palette: Palette) -> Figure:
    """A panel a run, lines for a few layers, a map for many."""
    number = len(data["runs"])
    most = max(len(data[f"layers_{place}"]) for place in range(number))
    figure = new_figure(2.7 if most <= _MOST_LINES else 1.4 + 0.11 * most)
    axes = figure.subplots(1, number, sharey=most <= _MOST_LINES, squeeze=False)[0]
    ends = _ends(data, number)
    for place, panel in enumerate(axes):
        if most <= _MOST_LINES:
            _paint_lines(panel, data, place, palette)
        else:
            mesh = _paint_map(panel, data, place, ends)
        if not np.isfinite(data[f"mean_{place}"]).any():
            said = "weights that start at 0\nhave no relative distance"
            panel.text(0.5, 0.5, said, ha="center", transform=panel.transAxes)
            panel.set_xticks([])
        panel.set_title(str(data["runs"][place]), loc="left")
        panel.set_xlabel(str(data["clock"]))
    if most <= _MOST_LINES:
        axes[0].set_ylabel("relative distance")
        means = [data[f"mean_{place}"].ravel() for place in range(number)]
        label_log(axes[0], np.concatenate(means))
        handles, labels = axes[-1].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=_MOST_LINES + 1
        )
    else:
        figure.colorbar(mesh, ax=list(axes), label="relative distance", pad=0.02)
    return figure


def _ends(data: Mapping[str, Array], number: int) -> tuple[float, float]:
    """Least and largest distance above 0, for colours that all maps share."""
    every = np.concatenate([data[f"mean_{place}"].ravel() for place in range(number)])
    every = every[np.isfinite(every) & (every > 0)]
    return (float(every.min()), float(every.max())) if len(every) else (0.1, 1.0)


def _paint_lines(
    axes: Axes, data: Mapping[str, Array], place: int, palette: Palette
) -> None:
    epochs = data[f"epochs_{place}"]
    for i, layer in enumerate(data[f"layers_{place}"]):
        colour = (*palette.lines, palette.ink)[i]
        mean = data[f"mean_{place}"][:, i]
        marker = "o" if len(epochs) < _FEW else ""
        axes.plot(epochs, mean, marker=marker, color=colour, label=str(layer))
        low, high = (data[f"{end}_{place}"][:, i] for end in ("low", "high"))
        axes.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.axhline(
        np.sqrt(2),
        color=palette.faint,
        linewidth=0.8,
        linestyle="--",
        label="independent draw",
    )


def _paint_map(
    axes: Axes, data: Mapping[str, Array], place: int, ends: tuple[float, float]
) -> QuadMesh:
    from matplotlib.colors import LogNorm

    mean_TL, epochs = data[f"mean_{place}"], data[f"epochs_{place}"]
    layers = data[f"layers_{place}"]
    mesh = axes.pcolormesh(
        epochs,
        np.arange(len(layers)),
        np.ma.masked_less_equal(mean_TL.T, 0),
        norm=LogNorm(*ends),
        cmap=DENSITY,
        shading="nearest",
        rasterized=True,
    )
    axes.set_yticks(np.arange(len(layers)), labels=list(layers), fontsize=5)
    axes.invert_yaxis()
    return mesh
