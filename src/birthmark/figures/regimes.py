"""Figure 2: losses along an axis, the phase diagram, and the least losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from birthmark.analysis import (
    FIGURE_2,
    REGIMES,
    Axis,
    Column,
    Family,
    Line,
    NothingFoundError,
    follows_paper,
    map_regimes,
    phase_diagram,
)
from birthmark.figures.canvas import (
    axis_data,
    draw_error_bars,
    find_edges,
    label_log,
    name_panel,
    name_powers,
    new_figure,
    shift_places,
    tick_axis,
)
from birthmark.figures.captions import describe_protocol
from birthmark.figures.drawings import Drawing
from birthmark.figures.palettes import Palette
from birthmark.figures.scaling import TWO_NEEDED
from birthmark.shapes import Array
from birthmark.statistics import Curve, summarize_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

FEWEST_FOR_MAP = 5  # values of the axis from which regions are coloured
CURVES = 4  # values of the axis whose losses are shown
LINES = 6  # values of a series, each with a drawing of its own
_LETTERS = 40  # of names that stand in one row
_EPOCHS = ("min_train_epoch", "min_test_epoch", "divergence_epoch")
_LOSSES = ("min_train_loss", "min_test_loss")


def draw_regimes(family: Family) -> list[Drawing]:
    """One drawing along the axis, for each value of a series.

    Raises:
        NothingFoundError: All runs have one value, and nothing was published on it.
    """
    is_papers = family.axis.field == "width" and all(
        follows_paper(run.spec) for run in family.study
    )
    lines = [line for line in family.lines if len(line.columns) > 1 or is_papers]
    if not lines:
        raise NothingFoundError(TWO_NEEDED)
    return [_draw(family, line, is_papers=is_papers) for line in lines[:LINES]]


def _draw(family: Family, line: Line, *, is_papers: bool) -> Drawing:
    axis, columns = line.study.axis, line.columns
    phases, regimes = phase_diagram(columns), map_regimes(columns)
    shown = _spread(len(columns))
    every = _with_published(axis) if is_papers else axis
    data = axis_data(every) | {
        "places": every.places[[every.values.index(one) for one in axis.values]],
        "curves": np.array([axis.text(columns[i].value) for i in shown]),
        "noun": np.array(axis.noun),
        "map_epochs": regimes.epochs,
        "regime": regimes.majority,
        "regime_counts": regimes.counts,
        "replicas": phases.replicas,
    }
    for name in (*_EPOCHS, *_LOSSES):
        data[name] = _table(getattr(phases, name), phases.replicas)
    for place, i in enumerate(shown):
        data |= _losses(columns[i], place)
    beside = ""
    if is_papers:
        data |= _published(every)
        beside = (
            "Diamonds in (c) and (d): the published figure (arXiv 2012.02550, means of "
            "ten networks), read off by eye, with the error of reading, 5 %, or the "
            "published error bar where it is longer; epochs beyond 1000 are not drawn."
        )
    lines = family.thresholds
    map_words = (
        " Colours, the phase diagram: the regime of most replicas (high trainability: "
        f"train loss below {lines.reached:g} of chance; untrainability: after a "
        "minimum that training goes on to make worse)."
        if len(columns) >= FEWEST_FOR_MAP
        else f" No phase diagram: fewer than {FEWEST_FOR_MAP} values."
    )
    caption = (
        "(a), (b) Train loss (mean over each epoch) and test loss of "
        f"{axis.say(*[columns[i].value for i in shown])}: thin lines are replicas, "
        "thick ones their "
        "geometric mean. (c) Epoch of the minimum train loss, of "
        "the minimum test loss, and of divergence (train loss at or above "
        f"{lines.divergence:g} of the plateau of the clipped loss; for other losses, "
        "above that of chance after the minimum), over the replicas in which it was "
        "seen; hollow where some were watched in vain, so that it is too early; an "
        f"epoch of minimum is not seen while the loss still falls.{map_words} (d) The "
        "least losses. Geometric means with 95 % intervals of the logarithms, "
        "Student's t over replicas, of which there "
        f"are {', '.join(map(str, phases.replicas))}. {beside}"
    )
    at = "" if family.series is None else f", {family.series.say(line.value)}"
    title = f"Regimes of training along {_say_values(axis)}{at}"
    stem = "" if family.series is None else f"-{family.series.text(line.value)}"
    return Drawing(
        f"figure2-regimes-{family.name}{stem}",
        2,
        title,
        caption.strip(),
        data,
        paint,
        describe_protocol(line.study.runs),
        family.name,
    )


def _say_values(axis: Axis) -> str:
    if len(axis.values) == 1:
        return axis.say(*axis.values)
    if len(axis.values) < 4 or not axis.is_number:
        return f"{len(axis.values)} values of {axis.noun}"
    return f"{axis.noun} {axis.text(axis.values[0])} to {axis.text(axis.values[-1])}"


def _with_published(axis: Axis) -> Axis:
    widths = {one.width for one in FIGURE_2}.union(map(int, axis.values))
    return Axis(axis.field, tuple(sorted(widths)))


def _published(every: Axis) -> dict[str, Array]:
    """The numbers of the paper, each with its error, [P, 2]; NaN: none."""
    at = [every.values.index(one.width) for one in FIGURE_2]
    data = {
        "paper_places": every.places[at],
        "paper_widths": np.array([one.width for one in FIGURE_2]),
    }
    for name in (*_EPOCHS, *_LOSSES):
        pairs = [(getattr(one, name), one.error(name)) for one in FIGURE_2]
        data[f"paper_{name}"] = np.where(np.isfinite(pairs), pairs, np.nan)
    return data


def _spread(number: int) -> list[int]:
    """Up to four places, from the first to the last."""
    places = np.linspace(0, number - 1, min(CURVES, number))
    return [int(i) for i in np.unique(places.round())]


def _table(estimates: tuple[Curve, ...], replicas: Array) -> Array:
    """Mean, low, high, share of the replicas with a value, [A, 4]."""
    return np.array(
        [
            [one.mean, one.low, one.high, one.n / n]
            for one, n in zip(estimates, replicas, strict=True)
        ]
    )


def _losses(column: Column, place: int) -> dict[str, Array]:
    length = min(len(run.epochs) for run in column.runs)
    data = {f"epochs_{place}": column.runs[0].epochs[:length]}
    for name in ("train_loss", "test_loss"):
        every = [run.values(name)[:length] for run in column.runs]
        joined = np.concatenate(every, axis=1)
        data[f"{name}_{place}"] = joined
        data[f"{name}_mean_{place}"] = summarize_curves(joined, "log").mean
    return data


def paint(data: Mapping[str, Array], palette: Palette) -> Figure:
    """Four panels: two of curves above, phase diagram and least losses below."""
    figure = new_figure(5.8)
    axes = figure.subplots(2, 2, height_ratios=[1, 1.25])
    for panel, letter, name in (
        (axes[0, 0], "a", "train"),
        (axes[0, 1], "b", "test"),
    ):
        _paint_losses(panel, data, f"{name}_loss", palette)
        panel.set(xlabel="epoch", ylabel=f"{name} loss")
        name_panel(panel, letter)
    lines, texts = axes[0, 1].get_legend_handles_labels()
    figure.legend(  # beside the panels, since names of rules would cover the curves
        *(lines, [f"{data['noun']} {text}" for text in texts]),
        loc="outside upper center",
        ncols=CURVES if sum(map(len, texts)) < _LETTERS else 2,
    )
    _paint_phases(axes[1, 0], data, palette)
    name_panel(axes[1, 0], "c")
    for by, name, colour, label in (
        (-0.5, "min_train_loss", palette.train, "train"),
        (0.5, "min_test_loss", palette.test, "test"),
    ):
        draw_error_bars(
            axes[1, 1],
            data["places"] + _shift(data, by),
            data[name],
            colour=colour,
            palette=palette,
            label=label,
            joined=bool(data["axis_is_number"]),
        )
        _paint_published(axes[1, 1], data, name, colour, palette)
    axes[1, 1].set(ylabel="least loss")
    label_log(axes[1, 1])
    tick_axis(axes[1, 1], data)
    axes[1, 1].legend()
    name_panel(axes[1, 1], "d")
    return figure


def _shift(data: Mapping[str, Array], by: float) -> float:
    """So far to the side that error bars do not hide each other."""
    return float(shift_places(data["axis_places"], by)[0] - data["axis_places"][0])


def _paint_losses(
    axes: Axes, data: Mapping[str, Array], name: str, palette: Palette
) -> None:
    for place, text in enumerate(data["curves"]):
        colour = palette.lines[place]
        epochs = data[f"epochs_{place}"][1:]
        axes.plot(
            epochs,
            data[f"{name}_{place}"][1:],
            color=colour,
            linewidth=0.4,
            alpha=0.35,
            rasterized=True,
        )
        mean = data[f"{name}_mean_{place}"][1:]
        axes.plot(epochs, mean, color=colour, label=str(text))
    axes.set_xscale("log")
    name_powers(axes.xaxis)
    label_log(axes)


def _paint_phases(axes: Axes, data: Mapping[str, Array], palette: Palette) -> None:
    from matplotlib.patches import Patch

    places, epochs = data["places"], data["map_epochs"][1:]
    is_mapped = len(places) >= FEWEST_FOR_MAP
    if is_mapped:
        _paint_regions(axes, data, palette)
    for by, name, colour, label in (
        (-1, "min_train_epoch", palette.train, "minimum train loss"),
        (1, "min_test_epoch", palette.test, "minimum test loss"),
        (0, "divergence_epoch", palette.divergence, "divergence"),
    ):
        if np.isfinite(data[name][:, 0]).any():
            seen_by_all = data[name][:, 3] == 1
            draw_error_bars(
                axes,
                places + _shift(data, by),
                np.column_stack([data[name][:, :3], seen_by_all]),
                colour=colour,
                palette=palette,
                label=label,
                joined=bool(data["axis_is_number"]),
            )
        _paint_published(axes, data, name, colour, palette)
    axes.set_yscale("log")
    name_powers(axes.yaxis)
    beyond = (epochs[-1] / epochs[0]) ** 0.03  # so that the last epoch is no edge
    axes.set_ylabel("epoch")
    if len(epochs) > 1:
        axes.set_ylim(epochs[0], epochs[-1] * beyond)
    tick_axis(axes, data)
    lines, _ = axes.get_legend_handles_labels()
    regions = [
        Patch(facecolor=colour, label=name)
        for name, colour in zip(REGIMES, palette.regions, strict=True)
        if is_mapped
    ]
    if "paper_places" in data:
        lines.append(_paper_key(palette))
    axes.figure.legend(handles=[*lines, *regions], loc="outside lower center", ncols=3)


def _paint_regions(axes: Axes, data: Mapping[str, Array], palette: Palette) -> None:
    """A bar for each range of epochs in one regime, at each value."""
    epochs, edges = data["map_epochs"][1:], find_edges(data["places"])
    for place, regime_T in enumerate(data["regime"][:, 1:]):
        starts = np.flatnonzero(np.diff(regime_T, prepend=-2))
        ends = np.append(starts[1:], len(epochs)) - 1
        low, high = epochs[starts] - 0.5, epochs[ends] + 0.5
        known = regime_T[starts] >= 0
        axes.bar(
            edges[place],
            (high - low)[known],
            edges[place + 1] - edges[place],
            low[known],
            align="edge",
            color=[palette.regions[kind] for kind in regime_T[starts][known]],
            zorder=0,
        )


def _paint_published(
    axes: Axes, data: Mapping[str, Array], name: str, colour: str, palette: Palette
) -> None:
    """Diamonds for the numbers of the paper, where there are any."""
    if "paper_places" not in data:
        return
    value, error = data[f"paper_{name}"].T
    axes.errorbar(
        data["paper_places"],
        value,
        yerr=error,
        fmt="D",
        markersize=3.2,
        markeredgewidth=0.8,
        color=colour,
        markerfacecolor=palette.paper,
        elinewidth=0.7,
        zorder=1.5,
    )


def _paper_key(palette: Palette) -> Line2D:
    """For the legend: diamonds, whatever their colour."""
    from matplotlib.lines import Line2D

    return Line2D(
        [],
        [],
        marker="D",
        linestyle="none",
        markersize=3.2,
        color=palette.ink,
        markerfacecolor=palette.paper,
        label="published (any colour)",
    )
