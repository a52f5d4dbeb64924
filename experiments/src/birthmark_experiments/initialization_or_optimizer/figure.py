"""The figure of starts and optimizers: steps of each pair, and shares of variance."""

import numpy as np
import xarray as xr

from birthmark.figures import Drawing, Palette, label_log, name_panel, new_figure
from ..frame.curves import Axes, Data, Figure, paint_marks, stack_interval, take
from ..statistics import PARTS, share_variance

_STYLES = (("o", "-"), ("s", "--"), ("^", ":"))
_NAMES = ("initialization", "optimizer", "interaction", "replicas")
_ASIDE = 0.16  # of points of one start
_DIMS = ("initialization", "optimizer", "replica")


def draw(results: xr.Dataset) -> Drawing:
    """Three panels; see the caption."""
    levels = results["level"].to_numpy()
    steps_LABR = results["steps"].transpose("level", *_DIMS).to_numpy()
    accuracy = results["test_accuracy"].transpose(*_DIMS).to_numpy()
    tables = [np.log(steps_LABR[0]), np.log(steps_LABR[-1]), accuracy]
    shares = [share_variance(one) for one in tables]
    censored_ABR = results["is_censored"].isel(level=-1).transpose(*_DIMS).to_numpy()
    title = "Initialization or optimizer"
    caption = (
        f"{title}. (a) Steps until the training loss is down to {levels[-1]:.3g}: "
        f"geometric means of {results.sizes['replica']} replicas with Student's 95 % "
        "interval; hollow: some replicas had not reached it within the budget of "
        f"{results.attrs['budget']} steps, and count as that. (b) Shares of the "
        "variance that initialization, optimizer, their interaction and replicas have "
        "(omega squared, two-way analysis of variance; below 0: less than chance "
        "alone makes on average); bars: bootstrap over replicas, less than 95 %. (c) "
        "The search for the learning rate on another seed: geometric mean of the same "
        "steps over the starts that were looked at; large markers: what was chosen. "
        "Protocol: "
        f"{results.attrs['protocol']}"
    )
    parts = [[one[part] for part in PARTS] for one in shares]
    outcomes = [*(f"steps to loss {one:.3g}" for one in levels), "test accuracy"]
    names = ("initialization", "optimizer", "searched_lr", "search", "lr")
    data = take(results, names, "candidate", ...) | {
        "steps": stack_interval(steps_LABR[-1], "log"),
        "censored": np.array(np.any(censored_ABR, axis=-1)),
        "budget": np.array(results.attrs["budget"]),
        "outcome": np.array(outcomes),
        "share": np.array([[[x.omega2, x.low, x.high] for x in one] for one in parts]),
    }
    return Drawing("initialization-or-optimizer", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """Steps above; shares and the search below."""
    figure = new_figure(5.6)
    grid = figure.add_gridspec(2, 2, height_ratios=[1.15, 1], width_ratios=[1.5, 1])
    _paint_steps(figure.add_subplot(grid[0, :]), data, palette)
    _paint_shares(figure.add_subplot(grid[1, 0]), data, palette)
    _paint_search(figure.add_subplot(grid[1, 1]), data, palette)
    return figure


def _paint_steps(axes: Axes, data: Data, palette: Palette) -> None:
    mean, low, high = data["steps"]
    place = np.arange(len(data["initialization"]))
    axes.axhline(float(data["budget"]), color=palette.faint, linewidth=0.8, zorder=0)
    for column, optimizer in enumerate(data["optimizer"]):
        colour, (marker, _) = palette.lines[column], _STYLES[column]
        at = place + _ASIDE * (column - 1)
        axes.vlines(at, low[:, column], high[:, column], color=colour, linewidth=1.2)
        for hollow in (False, True):
            use = data["censored"][:, column] == hollow
            style = {"fill": palette.paper if hollow else colour, "markersize": 5}
            paint_marks(axes, at[use], mean[use, column], marker, colour, **style)
        axes.plot([], [], marker, color=colour, label=str(optimizer))
    axes.set_xticks(place, labels=data["initialization"])
    axes.tick_params(axis="x", labelsize=7)
    label_log(axes)
    axes.set_ylabel(f"{data['outcome'][-2]}")
    axes.legend(ncols=3, loc="best")
    name_panel(axes, "a", "steps by start and optimizer")


def _paint_shares(axes: Axes, data: Data, palette: Palette) -> None:
    place = np.arange(len(_NAMES))
    axes.axhline(0, color=palette.faint, linewidth=0.8, zorder=0)
    for number, outcome in enumerate(data["outcome"]):
        share, low, high = data["share"][number].T
        colour, (marker, _) = (*palette.lines[3:], palette.ink)[number], _STYLES[number]
        at = place + _ASIDE * (number - 1)
        axes.vlines(at, low, high, color=colour, linewidth=1.4)
        axes.plot(at, share, marker, color=colour, markersize=5, label=str(outcome))
    axes.set_xticks(place, labels=_NAMES)
    axes.set_ylabel("share of variance (omega squared)")
    axes.legend(loc="upper center")
    name_panel(axes, "b", "who accounts for it")


def _paint_search(axes: Axes, data: Data, palette: Palette) -> None:
    for column, optimizer in enumerate(data["optimizer"]):
        lr, steps = data["searched_lr"][:, column], data["search"][:, column]
        colour, (marker, dash) = palette.lines[column], _STYLES[column]
        style = {"color": colour, "markersize": 3.5, "label": optimizer}
        axes.plot(lr, steps, marker + dash, **style)
        chosen = lr == data["lr"][column]
        axes.plot(lr[chosen], steps[chosen], marker, color=colour, markersize=8)
    axes.set_xscale("log")
    label_log(axes)
    axes.set(xlabel="learning rate", ylabel="steps in the search")
    name_panel(axes, "c", "learning rates")
