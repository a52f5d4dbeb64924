"""The picture of the page on Keras: losses by backend, and the paper's network."""

from typing import Any

import numpy as np

from birthmark.figures import (
    DASHES,
    Drawing,
    Palette,
    label_log,
    name_panel,
    new_figure,
)
from birthmark.shapes import Array
from birthmark.store import open_shipped
from ..frame.curves import Axes, Data, Figure
from ..keras import facts

OUTPUTS = ("softmax", "logits")


def draw() -> Drawing:
    """Three backends, and Keras beside birthmark; see the caption."""
    found, wide = facts.describe_trainings(), facts.describe_wide()
    lines = facts.read_lines("trainings")
    run = found["protocol"]
    title = "Clipped loss and loss from logits in real Keras"
    caption = (
        f"{title}. (a) to (c): train loss, by epoch, of a dense relu network "
        f"{run['width']}-{run['width']} on a share of HASYv2 under Keras "
        f"{run['keras']}, SGD, lr {run['lr']:g}, batches of {run['batch']}, clip "
        f"{run['epsilon']:g}; a line a replica, with the same start and batches in "
        "each panel. Dotted: -ln(clip), the most that the loss can be, and the loss of "
        f"a guess. (d): replica {wide['replica']} of the paper's protocol at width "
        f"{wide['width']} in Keras (JAX, float32) and in birthmark "
        f"({wide['precision']} products), same start and batches; thin: the other "
        "replicas of birthmark; square: the "
        "paper's lowest train loss and its epoch, read off its Figure 2."
    )
    paper, read = wide["published"], ("min_train_epoch", "min_train_loss")
    losses = [one["train_loss"] for one in facts.read_lines("paper")]
    data: dict[str, Array] = {
        "most": np.array(found["most"]),
        "guess": np.array(found["guess"]),
        "wide_keras": np.array(losses),
        "published": np.array([getattr(paper, name) for name in read]),
        "published_error": np.array([paper.error(name) for name in read]),
        "wide_replica": np.array(wide["replica"]),
    }
    records = open_shipped("paper").records(wide["run"], distributions=False)
    own = records["train_loss"].to_numpy()[1 : wide["epochs"] + 1]
    data["wide_birthmark"] = own.T
    for key in facts.NAMES:
        for output in OUTPUTS:
            curves = facts.find(lines, key, output == "logits")
            data[f"{key}_{output}"] = np.array([one["loss"] for one in curves])
    return Drawing("keras", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """Panels (a) to (c) on common axes, (d) beside them."""
    figure = new_figure(4.6)
    panels = figure.subplots(2, 2)
    for letter, axes, (key, name) in zip(
        "abc", panels.flat, facts.NAMES.items(), strict=False
    ):
        draw_backend(axes, data, key, palette)
        name_panel(axes, letter, name)
    draw_wide(panels[1, 1], data, palette)
    name_panel(panels[1, 1], "d", "the paper's network of width 250")
    outputs = ("softmax output", "from_logits=True")
    for colour, dash, label in zip(palette.lines, DASHES, outputs, strict=False):
        panels[0, 0].plot([], [], color=colour, linestyle=dash, label=label)
    panels[0, 0].legend(handlelength=3, loc="upper right", ncols=2)
    return figure


def draw_backend(axes: Axes, data: Data, key: str, palette: Palette) -> None:
    """A line a replica and output; dotted, the two ends."""
    for level, text in (("most", "-ln(clip)"), ("guess", "a guess")):
        height = float(data[level])
        axes.axhline(height, color=palette.faint, linestyle=":", linewidth=1)
        axes.text(1, height, text, va="bottom", color=palette.ink, fontsize=6)
    for output, colour, dash in zip(OUTPUTS, palette.lines, DASHES, strict=False):
        for loss in data[f"{key}_{output}"]:
            epochs = np.arange(1, len(loss) + 1)
            axes.plot(epochs, loss, color=colour, linestyle=dash, linewidth=0.9)
    axes.set(ylim=(0, 9.8), xlabel="epoch", ylabel="train loss (nat)")


def draw_wide(axes: Axes, data: Data, palette: Palette) -> None:
    """Keras beside birthmark at the paper's size."""
    epochs = np.arange(1, len(data["wide_keras"]) + 1)
    own = int(data["wide_replica"])
    for number, loss in enumerate(data["wide_birthmark"]):
        style: dict[str, Any] = {"color": palette.faint, "linewidth": 0.6, "zorder": 1}
        if number == own:
            style = {"color": palette.lines[1], "linestyle": DASHES[1], "zorder": 3}
            style |= {"linewidth": 1.1, "label": "birthmark, same start"}
        axes.plot(epochs, loss, **style)
    axes.plot(epochs, data["wide_keras"], color=palette.lines[0], label="Keras")
    (epoch, loss), (across, up) = data["published"], data["published_error"]
    style = {"fmt": "s", "markersize": 3, "color": palette.ink}
    axes.errorbar(epoch, loss, up, across, label="paper, lowest", **style)
    label_log(axes)
    axes.set(xlabel="epoch", ylabel="train loss (nat)")
    axes.legend(handlelength=3)
