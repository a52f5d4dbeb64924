"""A phase diagram over two axes: what networks become, or any number of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from birthmark.analysis import LEARNER, LEARNERS, Phases
from birthmark.figures.canvas import axis_data, find_edges, new_figure, tick_axis
from birthmark.figures.drawings import Drawing
from birthmark.figures.palettes import DENSITY, Palette
from birthmark.shapes import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FAINTEST = 0.35  # of a learner that just has the most replicas


def draw_phases(phases: Phases) -> Drawing:
    """The drawing of a phase diagram over two axes."""
    of_learners = phases.colour == LEARNER
    data = {
        **{f"x_{name}": values for name, values in axis_data(phases.x).items()},
        **{f"y_{name}": values for name, values in axis_data(phases.y).items()},
        "majority": phases.majority,
        "share": np.nan_to_num(phases.shares).max(axis=-1),
        "values": phases.values,
        "replicas": phases.replicas,
        "of_learners": np.array(of_learners),
        "colour": np.array(phases.colour.replace("_", " ")),
    }
    counts = phases.replicas[phases.replicas > 0]
    what = "the learner that most replicas are" if of_learners else phases.colour
    caption = (
        f"Over {phases.x.noun} and {phases.y.noun}: {what}"
        + ("; paler where fewer of them agree" if of_learners else ", mean of replicas")
        + f". Each place has {_range(counts)} replicas; empty: no run."
    )
    if phases.left_out:
        caption += f" {phases.left_out} runs that differ in other fields are left out."
    title = f"{phases.y.noun} against {phases.x.noun}"
    return Drawing("phase", 0, title, caption, data, _paint)


def _paint(data: Mapping[str, Array], palette: Palette) -> Figure:
    figure = new_figure(3.6, 5.4)
    axes = figure.subplots()
    x, y = (_axis(data, name) for name in "xy")
    tick_axis(axes, x)
    axes.set_yticks(y["axis_places"], labels=[str(text) for text in y["axis_texts"]])
    axes.set_ylabel(str(y["axis_label"]))
    edges = find_edges(x["axis_places"]), find_edges(y["axis_places"])
    if data["of_learners"]:
        _paint_learners(axes, edges, data, palette)
    else:
        shown = axes.pcolormesh(*edges, data["values"], cmap=DENSITY)
        figure.colorbar(shown, ax=axes, label=str(data["colour"]))
    axes.set_ylim(edges[1][0], edges[1][-1])
    return figure


def _paint_learners(
    axes: Axes, edges: tuple[Array, Array], data: Mapping[str, Array], palette: Palette
) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Patch

    majority, share = data["majority"], data["share"]
    colours = np.zeros((*majority.shape, 4))
    for place, colour in enumerate(palette.learners):
        colours[majority == place] = to_rgba(colour)
    strength = np.clip((share - 0.5) / 0.5, 0, 1)
    colours[..., 3] *= _FAINTEST + (1 - _FAINTEST) * strength
    axes.pcolormesh(*edges, colours)
    there = [place for place in range(len(LEARNERS)) if (majority == place).any()]
    axes.legend(
        handles=[
            Patch(color=palette.learners[place], label=LEARNERS[place])
            for place in there
        ],
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        frameon=False,
    )


def _range(counts: Array) -> str:
    least, most = int(counts.min()), int(counts.max())
    return str(least) if least == most else f"{least} to {most}"


def _axis(data: Mapping[str, Array], which: str) -> dict[str, Array]:
    prefix = f"{which}_"
    return {
        name.removeprefix(prefix): values
        for name, values in data.items()
        if name.startswith(prefix)
    }
