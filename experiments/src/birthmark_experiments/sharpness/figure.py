"""The figure of sharpness: lr x sharpness by input, at the collapse, and who learns."""

from __future__ import annotations

import numpy as np
import xarray as xr

from birthmark.figures import Drawing, Palette, name_panel, new_figure
from birthmark.shapes import Array
from birthmark_experiments.frame.curves import (
    Axes,
    Data,
    Figure,
    paint_curves,
    paint_replicas,
)
from birthmark_experiments.sharpness.facts import EDGE, LAST

_FLOOR = 1e-2  # of what is drawn: a loss that is flat is no point of a log axis
_RANGE = (0.8 * _FLOOR, 300.0)  # with room for the legend
_MARKERS = ("o", "s", "^")
_TITLES = {"white": "white background", "black": "black background"}


def draw(results: xr.Dataset) -> Drawing:
    """Six panels; see the caption."""
    title = "Sharpness against 2 / lr"
    focus = str(results.attrs["focus"])
    caption = (
        f"{title}. (a) to (c) Learning rate times sharpness under the clipped loss, by "
        "input and learning rate: geometric means with Student's 95 % interval, n = "
        f"{results.sizes['replica']}; arrows at the foot: epochs with values below "
        f"{_FLOOR:g}, zeros among them. Dotted: "
        "2, above which gradient descent on a quadratic diverges. (d) and (e) The arm "
        f"{focus} in each replica: lr times sharpness with the clip and from logits "
        "(same start, same batches), and with the clip the train accuracy and the "
        "share of examples below the clip. (f) Each replica of the clipped arms: "
        "accuracy at the end against lr times sharpness at the start. Protocol: "
        f"{results.attrs['protocol']}"
    )
    clipped = results.isel(arm=np.flatnonzero((results["loss"] == "clipped").values))
    data: dict[str, Array] = {
        "look": results["look"].to_numpy(),
        "epoch": results["epoch"].to_numpy(),
        "input": results["input"].to_numpy(),
        "pixels": clipped["pixels"].to_numpy(),
        "lr": clipped["lr"].to_numpy(),
        "scaled": (clipped["lr"] * clipped["sharpness"])
        .transpose("arm", "look", "replica")
        .to_numpy(),
        "accuracy": np.stack(
            [
                clipped["train_accuracy"]
                .isel(arm=i)
                .dropna("epoch", how="all")
                .isel(epoch=slice(-LAST, None))
                .median("epoch")
                .to_numpy()
                for i in range(clipped.sizes["arm"])
            ]
        ),
    }
    for loss in ("clipped", "logits"):
        arm = results.sel(arm=f"{focus} {loss}")
        scaled = arm["lr"] * arm["sharpness"]
        data[f"focus_{loss}"] = scaled.transpose("look", "replica").to_numpy()
    arm = results.sel(arm=f"{focus} clipped")
    for name in ("train_accuracy", "below_eps"):
        data[f"focus_{name}"] = arm[name].transpose("epoch", "replica").to_numpy()
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
    mine = data["pixels"] == name
    paint_curves(
        axes,
        data["look"],
        np.maximum(data["scaled"][mine], _FLOOR),
        [f"{lr:g}" for lr in data["lr"][mine]],
        palette,
        "log",
    )
    axes.set_yscale("log")
    _mark_zeros(axes, data["look"], data["scaled"][mine], palette)
    _scale_epochs(axes, data)


def _mark_zeros(axes: Axes, look: Array, scaled: Array, palette: Palette) -> None:
    """An arrow at the foot where some value is below the axis: zero has no place there.

    Args:
        axes: With a log axis that begins at `_FLOOR`.
        look: Epochs, [T].
        scaled: Values, [arm, T, R].
        palette: For its ink.
    """
    below = (scaled < _FLOOR).any(axis=(0, 2))
    if not below.any():
        return  # markers of no places would take the corner of the figure as theirs
    axes.plot(
        look[below],
        np.full(int(below.sum()), _FLOOR * 1.3),
        marker="v",
        linestyle="none",
        color=palette.ink,
        markersize=4,
        clip_on=False,
    )


def _scale_epochs(axes: Axes, data: Data) -> None:
    """Epochs from 0 on: the first ones apart, the later ones by their logarithm."""
    last = float(data["look"][-1])
    axes.set_xscale("symlog", linthresh=1, linscale=0.5)
    ticks = [t for t in (0, 1, 3, 10, 30, 100) if t <= last]
    axes.set_xticks(ticks, labels=[str(t) for t in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(0, last)


def _paint_focus(upper: Axes, lower: Axes, data: Data, palette: Palette) -> None:
    for place, (loss, dash, label) in enumerate(
        (("clipped", "-", "clipped"), ("logits", "--", "from logits"))
    ):
        style = {"linestyle": dash, "color": palette.lines[place]}
        paint_replicas(upper, data["look"], data[f"focus_{loss}"], label=label, **style)
    upper.axhline(EDGE, color=palette.ink, linestyle=":", linewidth=1)
    upper.set(xlabel="epoch", ylabel="lr x sharpness")
    upper.set_ylim(bottom=0)
    upper.legend()
    for place, (name, dash, label) in enumerate(
        (
            ("train_accuracy", "-", "train accuracy"),
            ("below_eps", "--", "share below the clip"),
        )
    ):
        style, values = {"linestyle": dash}, data[f"focus_{name}"]
        style["color"] = palette.lines[place + 2]
        paint_replicas(lower, data["epoch"], values, label=label, **style)
    lower.set(xlabel="epoch", ylabel="share of the examples", ylim=(0, 1.25))
    lower.set_yticks(np.linspace(0, 1, 6))
    lower.legend(loc="upper left")


def _paint_ends(axes: Axes, data: Data, palette: Palette, names: list[str]) -> None:
    for place, name in enumerate(names):
        mine = data["pixels"] == name
        axes.plot(
            data["scaled"][mine][:, 0].ravel(),
            data["accuracy"][mine].ravel(),
            _MARKERS[place],
            color=palette.lines[place],
            markersize=4,
            alpha=0.8,
            markeredgewidth=0,
            label=name,
        )
    axes.axvline(EDGE, color=palette.ink, linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("lr x sharpness at the start")
    axes.set_ylabel("train accuracy at the end")
    axes.set_ylim(0, 1.02)
    axes.legend()
