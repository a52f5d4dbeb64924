"""The figure of sharpness: lr x sharpness by input, at the collapse, and who learns."""

import numpy as np
import xarray as xr

from birthmark.figures import Drawing, Palette, choose_style, name_panel, new_figure
from ..frame import each
from ..frame.curves import (
    Axes,
    Data,
    Figure,
    paint_marks,
    paint_replicas,
    take,
)
from .facts import EDGE, LAST

_FLOOR = 1e-2  # of what is drawn: a loss that is flat is no point of a log axis
_RANGE = (0.8 * _FLOOR, 300.0)  # with room for the legend
_TITLES = {"white": "white background", "black": "black background"}


def draw(results: xr.Dataset) -> Drawing:
    """Six panels; see the caption."""
    title = "Sharpness against 2 / lr"
    focus = str(results.attrs["focus"])
    caption = (
        f"{title}. (a) to (c) Learning rate times sharpness under the clipped loss, by "
        "input and learning rate: thin, each replica (n = "
        f"{results.sizes['replica']}); thick, their median; arrows at the foot, in the "
        f"colour of the learning rate: epochs with values below {_FLOOR:g}, zeros "
        "among them. Dotted: 2, above which gradient descent on a quadratic diverges. "
        f"(d) and (e) The arm {focus} in each replica: lr times sharpness with the "
        "clip and from logits (same start, same batches), and with the clip the train "
        "accuracy and the share of examples below the clip. (f) Each replica of the "
        "clipped arms: accuracy at the "
        "end against lr times sharpness at the start. Protocol: "
        f"{results.attrs['protocol']}"
    )
    results = results.assign(scaled=results["lr"] * results["sharpness"])
    clipped = results.isel(arm=(results["loss"] == "clipped").to_numpy())
    names = ("look", "epoch", "input", "pixels", "lr", "scaled")
    data = take(clipped, names, "arm", "look", ..., "replica")
    curves = [
        arm.dropna("epoch", how="all").isel(epoch=slice(-LAST, None)).median("epoch")
        for arm in each(clipped["train_accuracy"], "arm").values()
    ]
    data["accuracy"] = np.stack(curves)
    for loss in ("clipped", "logits"):
        arm = results["scaled"].sel(arm=f"{focus} {loss}")
        data[f"focus_{loss}"] = arm.transpose("look", "replica").to_numpy()
    arms = results.sel(arm=f"{focus} clipped")
    for name in ("train_accuracy", "below_eps"):
        data[f"focus_{name}"] = arms[name].transpose("epoch", "replica").to_numpy()
    return Drawing("sharpness", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """Inputs side by side on common axes; below them the focus, and the ends."""
    figure = new_figure(5.2)
    panels = figure.subplots(2, 3)
    names = [str(name) for name in data["input"]]
    for axes, letter, name in zip(panels[0], "abc", names, strict=True):
        _paint_input(axes, data, palette, name)
        name_panel(axes, letter, _TITLES.get(name, name))
    for axes in panels[0]:
        axes.set_ylim(*_RANGE)
        axes.set_xlabel("epoch")
        axes.axhline(EDGE, color=palette.ink, linestyle=":", linewidth=1)
        axes.legend(title="lr", loc="upper right", ncols=2, handlelength=3)
    panels[0, 0].set_ylabel("lr x sharpness")
    _paint_focus(panels[1, 0], panels[1, 1], data, palette)
    _paint_ends(panels[1, 2], data, palette, names)
    for axes, letter in zip(panels[1], "def", strict=True):
        name_panel(axes, letter)
    return figure


def _paint_input(axes: Axes, data: Data, palette: Palette, name: str) -> None:
    mine, look = data["pixels"] == name, data["look"]
    for place, lr in enumerate(data["lr"][mine]):
        scaled_TR = data["scaled"][mine][place]
        values_TR = np.maximum(scaled_TR, _FLOOR)
        style = choose_style(place, palette)
        thin = style | {"linewidth": 0.6, "alpha": 0.45, "linestyle": "-"}
        paint_replicas(axes, look, values_TR, label="", **thin)
        median_T = np.median(values_TR, axis=1)
        known = np.isfinite(median_T)
        thick = style | {"linewidth": 1.8, "label": f"{lr:g}"}
        axes.plot(look[known], median_T[known], **thick)
        # zero has no place on the axis; a colour has its own height there
        below = (scaled_TR < _FLOOR).any(axis=1)
        if below.any():
            foot = np.full(int(below.sum()), _FLOOR * 1.25**place)
            paint_marks(axes, look[below], foot, "v", style["color"], clip_on=False)
    axes.set_yscale("log")
    # the first epochs apart, the later ones by their logarithm
    last = float(look[-1])
    axes.set_xscale("symlog", linthresh=1, linscale=0.5)
    ticks = [t for t in (0, 1, 3, 10, 30, 100) if t <= last]
    axes.set_xticks(ticks, labels=[str(t) for t in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(0, last)


def _paint_focus(upper: Axes, lower: Axes, data: Data, palette: Palette) -> None:
    lines = {
        "clipped": (upper, "look", "-", "clipped"),
        "logits": (upper, "look", "--", "from logits"),
        "train_accuracy": (lower, "epoch", "-", "train accuracy"),
        "below_eps": (lower, "epoch", "--", "share below the clip"),
    }
    for colour, (name, line) in zip(palette.lines, lines.items(), strict=False):
        axes, x, dash, label = line
        style = {"linestyle": dash, "color": colour, "label": label}
        paint_replicas(axes, data[x], data[f"focus_{name}"], **style)
    upper.axhline(EDGE, color=palette.ink, linestyle=":", linewidth=1)
    upper.set(xlabel="epoch", ylabel="lr x sharpness")
    upper.set_ylim(bottom=0)
    upper.legend()
    lower.set(xlabel="epoch", ylabel="share of the examples", ylim=(0, 1.25))
    lower.set_yticks(np.linspace(0, 1, 6))
    lower.legend(loc="upper left")


def _paint_ends(axes: Axes, data: Data, palette: Palette, names: list[str]) -> None:
    for place, name in enumerate(names):
        mine, colour = data["pixels"] == name, palette.lines[place]
        x, y = data["scaled"][mine][:, 0].ravel(), data["accuracy"][mine].ravel()
        style = {"alpha": 0.8, "markeredgewidth": 0, "label": name}
        paint_marks(axes, x, y, "os^"[place], colour, **style)
    axes.axvline(EDGE, color=palette.ink, linestyle=":", linewidth=1)
    axes.set(xscale="log", ylim=(0, 1.02), xlabel="lr x sharpness at the start")
    axes.set_ylabel("train accuracy at the end")
    axes.legend()
