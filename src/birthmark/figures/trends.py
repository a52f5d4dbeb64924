"""What networks end with along an axis, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from birthmark.analysis import (
    LEARNERS,
    Column,
    Family,
    NothingFoundError,
    Trend,
    find_quantities,
    find_trend,
    name_layer,
)
from birthmark.figures.canvas import (
    axis_data,
    draw_error_bars,
    find_edges,
    label_log,
    name_panel,
    new_figure,
    shift_places,
    tick_axis,
)
from birthmark.figures.captions import describe_family
from birthmark.figures.drawings import Drawing
from birthmark.figures.palettes import Palette, choose_style
from birthmark.figures.scaling import TWO_NEEDED
from birthmark.shapes import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = 8  # values of a series, a colour each


def draw_trends(family: Family) -> list[Drawing]:
    """One drawing along the axis, the values of a series in colours.

    Raises:
        NothingFoundError: All runs have one value of the axis.
    """
    if not family.is_along:
        raise NothingFoundError(TWO_NEEDED)
    axis, lines = family.axis, family.lines[:LINES]
    data = axis_data(axis)
    if family.series is not None:
        data["series"] = np.array([family.series.text(one.value) for one in lines])
        data["series_label"] = np.array(family.series.label)
    names, labels, scales = [], [], []
    for quantity in find_quantities(family.runs, judged=family.is_judged):
        trends = [find_trend(line.columns, quantity) for line in lines]
        if any(trend.n.any() for trend in trends):
            names.append(quantity.name)
            labels.append(quantity.label)
            scales.append(quantity.scale)
            data[quantity.name] = np.stack([_place(family, one) for one in trends])
    if not names:
        raise NothingFoundError("its runs have no measurements yet")
    data |= {
        "names": np.array(names),
        "labels": np.array(labels),
        "scales": np.array(scales),
    }
    first = ""
    if family.is_judged:
        counts = [_count(family, line.columns) for line in lines]
        data["learners"] = np.stack(counts)
        first = f"(a) {_say_learners(family)}. Other panels: "
    told = "" if family.series is None else f", {family.series.noun} in colours"
    is_of_layer = "relative_distance" in names
    of = f"; distances of {name_layer(family.layer)}" if is_of_layer else ""
    title = f"What networks end with along {axis.noun}{told}{of}"
    caption = (
        f"{title}. {first}Means over replicas with Student's 95 % interval (geometric "
        "on log axes); hollow where fewer than half of the replicas have a "
        "value; distance and correlation are of the matrix into the last hidden layer, "
        "at the last record. An independent second draw would stand at a relative "
        "distance of 1.41, correlation 0 and retention 0.5, the null model."
    )
    name = f"trends-{family.name}"
    protocol = describe_family(family)
    return [Drawing(name, 0, title, caption, data, paint, protocol, family.name)]


def _say_learners(family: Family) -> str:
    if family.series is None:
        return "Share of the replicas that are strong, unstable, weak or undecided"
    return "Share of the replicas that are strong learners"


def _place(family: Family, trend: Trend) -> Array:
    """Mean, low, high, share with a value, at each place of the axis, [A, 4]."""
    rows = np.full((len(family.axis.values), 4), np.nan)
    at = [family.axis.values.index(value) for value in trend.values]
    share = trend.n / [len(values) for values in trend.replicas]
    rows[at] = np.stack([trend.mean, trend.low, trend.high, share], axis=1)
    if trend.quantity.within is not None:  # no mean lies beyond
        rows[:, :3] = rows[:, :3].clip(*trend.quantity.within)
    return rows


def _count(family: Family, columns: Sequence[Column]) -> Array:
    """Replicas that are each of LEARNERS, [A, 4]."""
    counts = np.zeros((len(family.axis.values), len(LEARNERS)), dtype=int)
    for column in columns:
        at = family.axis.values.index(column.value)
        counts[at] = [(column.learners == name).sum() for name in LEARNERS]
    return counts


def paint(data: Mapping[str, Array], palette: Palette) -> Figure:
    """A panel for the learners where they are known, and one for each quantity."""
    before = int("learners" in data)
    number = len(data["names"]) + before
    columns = min(number, 4 if number in (4, 7, 8) else 3)
    rows = -(-number // columns)
    height = 1.95 if bool(data["axis_is_number"]) else 2.4  # words are turned
    figure = new_figure(height * rows + 0.6)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    if before:
        paint_first = _paint_strong if "series" in data else _paint_learners
        paint_first(axes[0], data, palette)
    for panel, name, label, scale in zip(
        axes[before:], data["names"], data["labels"], data["scales"], strict=False
    ):
        _paint_quantity(panel, data, str(name), palette)
        panel.set_ylabel(str(label))
        if scale == "log":
            label_log(panel, data[str(name)][..., 0])
    for letter, panel in zip("abcdefghijkl", axes[:number], strict=False):
        tick_axis(panel, data)
        name_panel(panel, letter)
    for panel in axes[number:]:
        panel.set_axis_off()
    keyed = axes[before] if "series" in data else axes[0]
    handles, labels = keyed.get_legend_handles_labels()
    if "series" in data or before:
        title = str(data["series_label"]) if "series" in data else None
        figure.legend(handles, labels, loc="outside lower center", ncols=8, title=title)
    return figure


def _paint_learners(axes: Axes, data: Mapping[str, Array], palette: Palette) -> None:
    """Stacked bars: which share of the replicas is what."""
    counts_AK = data["learners"][0]
    share_AK = counts_AK / np.maximum(counts_AK.sum(axis=1, keepdims=True), 1)
    places = data["axis_places"]
    width = 0.85 * np.diff(find_edges(places))
    bottom = np.zeros(len(places))
    for name in ("strong", "undecided", "weak", "unstable"):
        kind = LEARNERS.index(name)
        colour, share = palette.learners[kind], share_AK[:, kind]
        if not share.any():
            continue
        axes.bar(places, share, width, bottom, color=colour, label=name)
        bottom += share
    axes.set(ylabel="share of replicas", ylim=(0, 1))


def _paint_strong(axes: Axes, data: Mapping[str, Array], palette: Palette) -> None:
    for place, counts_AK in enumerate(data["learners"]):
        total = counts_AK.sum(axis=1)
        use = total > 0
        share = counts_AK[use, LEARNERS.index("strong")] / total[use]
        style = choose_style(place, palette)
        places = data["axis_places"][use]
        axes.plot(places, share, marker="o", markersize=3, color=style["color"])
    axes.set(ylabel="share of strong learners", ylim=(-0.03, 1.03))


def _paint_quantity(
    axes: Axes, data: Mapping[str, Array], name: str, palette: Palette
) -> None:
    many = len(data[name])
    for place, rows in enumerate(data[name]):
        draw_error_bars(
            axes,
            shift_places(data["axis_places"], place - (many - 1) / 2),
            rows,
            colour=str(choose_style(place, palette)["color"]),
            palette=palette,
            label=str(data["series"][place]) if "series" in data else "",
            joined=bool(data["axis_is_number"]),
        )
