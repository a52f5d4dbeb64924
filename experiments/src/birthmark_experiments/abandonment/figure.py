"""The figure of abandoned examples: curves by clip, and when the ends came."""

import numpy as np
import xarray as xr

from birthmark.figures import (
    Drawing,
    Palette,
    choose_style,
    name_panel,
    new_figure,
)
from birthmark.shapes import Array
from birthmark.statistics import summarize_curves
from ..frame.curves import Axes, Data, Figure, paint_marks, paint_replicas, take

_CURVES = {
    "train_accuracy": "train accuracy (share)",
    "below_eps": "examples below the clip (%)",
    "deviation": "std of the deviation (weight)",
}
_TOPS = {"train_accuracy": 1, "below_eps": 102}
_THIN = 3  # epochs between two points of a curve
_ENDS = {
    "onset": ("o", 4.5, "abandoning begins"),
    "death": ("X", 4.5, "only guesses"),
    "collapse": ("v", 3, "accuracy falls"),
}


def draw(results: xr.Dataset) -> Drawing:
    """Two rows with a panel a clip, and two panels; see the caption."""
    attrs = results.attrs
    names = results["clip"].to_numpy()
    first = results["fitted"].to_numpy() > 0
    shown = first | (np.arange(len(names)) >= len(names) - 2)
    title = "The clip of the loss, from wide to none"
    caption = (
        f"{title}. (a) Train accuracy; (b) examples whose true class had a probability "
        "below the clip when visited (for the loss from logits, which abandons none: "
        f"below {attrs['paper_eps']:g}); (c) standard deviation of the deviation of "
        "the weights between the hidden layers. A line is a replica "
        f"(n = {results.sizes['replica']} a clip); not drawn, between "
        f"these: {', '.join(names[~shown])}. (d) Each replica under each "
        f"clip: circles, the first epoch with {100 * attrs['onset']:g} % of the "
        "examples abandoned; line, through those of the clips that were run first "
        "(filled), dashed where it foretells; triangles, the epoch at which the "
        f"running median of the accuracy is below {attrs['fallen']:g} of its highest "
        "(for logits it comes with the guesses, and is not drawn); crosses, the epoch "
        "at which a network that had learned had only the loss of a guess left (some "
        "come back); squares, at the end of the training: no circle, no cross. "
        f"Protocol: {attrs['protocol']}"
    )
    curves = results.isel(clip=shown, epoch=slice(None, None, _THIN))
    data = take(curves, (*_CURVES, "epoch", "measured_epoch"), "clip", ..., "replica")
    data |= take(results, (*_ENDS, "clip", "budget"), "clip", "replica")
    data["below_eps"] = 100 * data["below_eps"]
    data["shown"] = names[shown]
    data["is_first"] = first
    # no clip lies two decades beyond the smallest
    eps = results["eps"].to_numpy()
    decades = -np.log10(np.where(eps > 0, eps, 1))
    data["decades"] = np.where(eps > 0, decades, decades.max() + 2)
    data["collapse"] = np.where(
        np.arange(len(eps))[:, None] < len(eps) - 1, data["collapse"], np.nan
    )
    data["line"] = _fit(data["decades"], data["onset"], first)
    return Drawing("abandonment", 0, title, caption, data, paint)


def _fit(decades: Array, onset_CR: Array, first: Array) -> Array:
    """Slope and intercept through the mean onsets of the clips that were run first."""
    mean = summarize_curves(onset_CR[first]).mean
    known = np.isfinite(mean)
    if known.sum() < 2:
        return np.full(2, np.nan)
    return np.polyfit(decades[first][known], mean[known], 1)


def paint(data: Data, palette: Palette) -> Figure:
    """A panel a clip for what is visited; deviations together, and the times."""
    figure = new_figure(6.2)
    names = [str(name) for name in data["shown"]]
    halves = figure.subfigures(2, 1, height_ratios=[1.25, 1], squeeze=False)
    (upper,), (lower,) = halves
    rows = upper.subplots(2, len(names), sharex=True, sharey="row", squeeze=False)
    styles = [choose_style(place, palette) | {"linewidth": 0.7} for place in range(9)]
    for letter, row, name in zip("ab", rows, list(_CURVES)[:2], strict=True):
        for place, axes in enumerate(row):
            style = {"color": styles[place]["color"], "label": names[place]}
            paint_replicas(axes, data["epoch"], data[name][place], **style)
            axes.set_ylim(0, _TOPS[name])
        row[0].set_ylabel(_CURVES[name])
        name_panel(row[0], letter, _say(names[0]) if letter == "a" else "")
    for axes, name in zip(rows[0][1:], names[1:], strict=True):
        axes.set_title(_say(name), loc="left")
    upper.supxlabel("epoch", fontsize=8)
    last, ends = lower.subplots(1, 2)
    for place, (name, style) in enumerate(zip(names, styles, strict=False)):
        values = data["deviation"][place]
        paint_replicas(last, data["measured_epoch"], values, label=_say(name), **style)
    last.set(xlabel="epoch", ylabel=_CURVES["deviation"], ylim=(0, None))
    last.legend(loc="upper left")
    name_panel(last, "c")
    _paint_ends(ends, data, palette)
    return figure


def _say(name: str) -> str:
    return name if name == "logits" else f"clip {name}"


def _paint_ends(axes: Axes, data: Data, palette: Palette) -> None:
    num_replicas = data["onset"].shape[1]
    decades, budget = data["decades"], data["budget"].astype(float)
    x_CR = decades[:, None] + np.linspace(-0.25, 0.25, num_replicas)
    _paint_line(axes, data, palette)
    for place, (name, (marker, size, label)) in enumerate(_ENDS.items()):
        colour = palette.lines[place]
        for first in (True, False):
            use = data["is_first"].astype(bool) == first
            hollow = name != "death" and not first
            edge = (colour, size / 5) if hollow else (palette.paper, 0.4)
            style = {"markeredgecolor": edge[0], "markeredgewidth": edge[1]}
            style |= {"fill": palette.paper if hollow else colour, "markersize": size}
            style["label"] = label if first else None
            x, y = x_CR[use].ravel(), data[name][use].ravel()
            paint_marks(axes, x, y, marker, colour, **style)
    neither = ~np.isfinite(data["onset"]) & ~np.isfinite(data["death"])
    x, y = x_CR[neither], np.broadcast_to(budget[:, None], neither.shape)[neither]
    style = {"fill": palette.paper, "label": "neither of the first two"}
    paint_marks(axes, x, y, "s", palette.ink, **style)
    axes.set_xticks(decades, labels=data["clip"], rotation=45, ha="right")
    axes.set(xlabel="clip of the loss", ylabel="epoch", ylim=(0, budget.max() * 1.05))
    axes.legend(loc="upper left")
    name_panel(axes, "d")


def _paint_line(axes: Axes, data: Data, palette: Palette) -> None:
    slope, intercept = data["line"]
    fitted = data["decades"][data["is_first"].astype(bool)]
    clipped = data["decades"][:-1]
    for ends, dash in (
        ((fitted.min(), fitted.max()), "-"),
        ((fitted.max(), clipped.max()), "--"),
    ):
        x = np.array(ends)
        axes.plot(x, slope * x + intercept, dash, color=palette.faint, linewidth=1)
