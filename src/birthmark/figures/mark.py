"""Figure 1: the marked matrix at a few epochs, above the losses of its network."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from birthmark.analysis import Family, NothingFoundError, Replica, Run
from birthmark.figures.canvas import label_log, new_figure
from birthmark.figures.captions import describe_mark, describe_protocol
from birthmark.figures.drawings import Drawing
from birthmark.figures.palettes import PALETTES, Palette
from birthmark.shapes import Array
from birthmark.statistics import pool_sizes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

PICTURES = 5
_COLOURS = 23  # odd: one is for zero; few, so that pictures of noise stay small


def draw_marks(family: Family) -> list[Drawing]:
    """One drawing for the widest stable, one for the most telling unstable network."""
    return [_draw(family, replica) for replica in choose_marked(family)]


def choose_marked(family: Family) -> list[Replica]:
    """The widest stable network, and an unstable one whose mark is hard to read.

    Stable: of the widest run with strong replicas (undecided ones where there is none
    strong), that of the lowest final train loss. Unstable: of the widest run half of
    whose replicas are unstable (of any, where there is none), that whose mark is the
    least readable at the end.

    Raises:
        NothingFoundError: No run has a mark and kept the weights under it.
    """
    replicas = family.replicas if family.is_judged else []
    marked = [one for one in replicas if one.run.spec.mark is not None]
    if not marked:
        raise NothingFoundError("no run has a mark: give one a table [mark]")
    kept = [one for one in marked if len(kept_epochs(family, one)) > 1]
    if not kept:
        raise NothingFoundError(
            'no marked run kept its weights: set weights = "log" in [record]'
        )
    stable = [one for one in kept if one.learner != "unstable"]
    unstable = [one for one in kept if one.learner == "unstable"]
    return [
        max(some, key=worth)
        for some, worth in ((stable, _worth_stable), (unstable, _worth_unstable))
        if some
    ]


def kept_epochs(family: Family, replica: Replica) -> list[int]:
    """Epochs at which the weights of the marked layer were kept."""
    spec = replica.run.spec
    layers = spec.record.weights_layers
    if spec.mark is None or (layers and spec.mark.layer not in layers):
        return []
    return family.kept_epochs(replica.run)


def initial_bound(run: Run, layer: str) -> float:
    """Where the colours of a matrix end: the half-width of its initial distribution."""
    return float(run.arrays["bound"].sel(layer=layer))


def _worth_stable(replica: Replica) -> tuple[float, ...]:
    order = ("weak", "undecided", "strong").index(replica.learner)
    final = replica.transition("final_train_loss")
    return (order, replica.run.width, -np.nan_to_num(final, nan=np.inf))


def _worth_unstable(replica: Replica) -> tuple[float, ...]:
    share = replica.share_unstable >= 0.5
    return (share, replica.run.width, -float(retention(replica)[-1]))


def retention(replica: Replica, name: str = "mark_auc") -> Array:
    """The retention of the mark at every epoch, [T]; the last known where it is NaN."""
    mark = replica.run.spec.mark
    assert mark is not None
    values = replica.curve(name, mark.layer)
    last = np.maximum.accumulate(
        np.where(np.isfinite(values), np.arange(len(values)), 0)
    )
    return np.asarray(values[last])


def _draw(family: Family, replica: Replica) -> Drawing:
    run, mark = replica.run, replica.run.spec.mark
    assert mark is not None
    epochs = run.arrays["epoch"].to_numpy()
    shown = _choose_epochs(kept_epochs(family, replica), replica)
    weights = family.weights_at(run, shown, mark.layer)
    places = np.searchsorted(epochs, shown)
    pictures = np.stack([weights[epoch][replica.place] for epoch in shown])
    known = np.nan_to_num(pictures, posinf=0, neginf=0)  # a frozen network has NaN
    data = {
        "epochs": epochs,
        "train_loss": replica.curve("train_loss"),
        "test_loss": replica.curve("test_loss"),
        "picture_epochs": np.array(shown),
        "pictures": pictures,
        "pooled": np.stack([pool_sizes(one) for one in known]),
        "retention": retention(replica)[places],
        "pooled_retention": retention(replica, "mark_pooled_auc")[places],
        "bound": np.array(initial_bound(run, mark.layer)),
    }
    title = f"The mark in {say_replica(family, replica)}"
    caption = (
        f"{title}. Above: the matrix {mark.layer} of one network at {len(shown)} "
        "epochs (rows are inputs, columns units), all on the scale of the start: white "
        f"at 0, full colour from the initial bound on, |w| = {data['bound']:.2g}; "
        "beneath each, the same sizes as an eye pools them: rows and columns scaled to "
        "equal rms, blurred with n / 60, dark where weights are small; "
        f"before training, {describe_mark(mark)}. AUC: retention of the mark, the area "
        "under the ROC curve of the weights as detector of the mark (1 perfect, 0.5 "
        "gone, which is the null model of weights that know nothing of it), weight by "
        "weight above, of the pooled sizes beneath. Below: "
        "train loss (log axis; mean over each epoch) and test loss (linear axis) of "
        f"the same network, replica {replica.place} of {run.num_replicas}; "
        "one network, so no interval."
    )
    name = f"figure1-mark-{family.name}-{family.stem(run)}"
    protocol = describe_protocol([run])
    return Drawing(name, 1, title, caption, data, paint, protocol, family.name)


def say_replica(family: Family, replica: Replica) -> str:
    """`a strong learner of width 32`, with the learning rate where that is varied."""
    article = "an" if replica.learner[0] in "aeiou" else "a"
    return f"{article} {replica.learner} learner of {family.say(replica.run)}"


def _choose_epochs(kept: list[int], replica: Replica) -> list[int]:
    """Up to five of the epochs kept: the first, the last, and around what happened."""
    last = kept[-1]
    happened = [
        replica.transition("loss_jump_epoch"),
        replica.transition("divergence_epoch"),
    ]
    known = [epoch for epoch in happened if np.isfinite(epoch)]
    if replica.learner == "unstable" and known:
        window = replica.transitions.window
        before = [epoch for epoch in kept if epoch < min(known) - window / 2]
        after = [epoch for epoch in kept if epoch > max(known) + window / 2]
        aims = [max(known) / 3, *before[-1:], *after[:1]]
    else:
        aims = [last / 12, last / 4, last / 2]
    inner = {min(kept, key=lambda epoch: abs(epoch - aim)) for aim in aims}
    return sorted({0, last, *inner})


def paint(data: Mapping[str, Array], palette: Palette) -> Figure:
    """Pictures in a row, lines from each to its epoch, train and test loss below."""
    figure = new_figure(5.6)
    num = len(data["pictures"])
    grid = figure.add_gridspec(4, num, height_ratios=[1.55, 1.55, 1, 1])
    pictures = [figure.add_subplot(grid[0, i]) for i in range(num)]
    pooled = [figure.add_subplot(grid[1, i]) for i in range(num)]
    train = figure.add_subplot(grid[2, :])
    test = figure.add_subplot(grid[3, :], sharex=train)
    for axes, sizes, auc in zip(
        pooled, data["pooled"], data["pooled_retention"], strict=True
    ):
        show_pooled(axes, sizes, palette)
        if np.isfinite(auc):
            axes.set_xlabel(f"AUC {auc:.2f}", fontsize=7, labelpad=2)
    for axes, picture, epoch, auc in zip(
        pictures,
        data["pictures"],
        data["picture_epochs"],
        data["retention"],
        strict=True,
    ):
        show_matrix(axes, picture, float(data["bound"]), palette)
        axes.set_title(f"epoch {epoch}")
        axes.set_xlabel(f"AUC {auc:.2f}", fontsize=7, labelpad=2)
    pictures[0].set_ylabel("weights", fontsize=7)
    pooled[0].set_ylabel("pooled sizes", fontsize=7)
    for axes, name, colour in (
        (train, "train", palette.train),
        (test, "test", palette.test),
    ):
        axes.plot(data["epochs"], data[f"{name}_loss"], color=colour)
        axes.set_ylabel(f"{name} loss")
        for epoch in data["picture_epochs"]:
            axes.axvline(epoch, color=palette.faint, linewidth=0.6, linestyle=":")
    label_log(train)
    train.tick_params(labelbottom=False)
    test.set(xlabel="epoch", ylim=(0, None))
    last = data["epochs"][-1]
    test.set_xlim(-0.015 * last, 1.015 * last)
    _connect(figure, pooled, train, data["picture_epochs"], palette)
    return figure


def show_matrix(axes: Axes, w_IO: Array, bound: float, palette: Palette) -> AxesImage:
    """The matrix in colours, inputs down the page: white at 0, full from the bound."""
    import matplotlib

    colours = matplotlib.colormaps[palette.signed].resampled(_COLOURS)
    axes.set(xticks=[], yticks=[])
    return axes.imshow(
        w_IO, cmap=colours, interpolation="none", vmin=-bound, vmax=bound
    )


def show_pooled(axes: Axes, sizes_IO: Array, palette: Palette) -> AxesImage:
    """Pooled sizes, dark where they are small; the scale ends at 1 and 99 %."""
    import matplotlib

    colours = matplotlib.colormaps["gray"].resampled(_COLOURS)
    low, high = np.percentile(sizes_IO, [1, 99])
    axes.set(xticks=[], yticks=[])
    return axes.imshow(
        sizes_IO, cmap=colours, interpolation="none", vmin=low, vmax=high
    )


def picture_matrix(w_IO: Array, bound: float) -> bytes:
    """A matrix as a small PNG, a pixel a weight, in the colours of Figure 1."""
    import matplotlib
    from PIL import Image

    colours = matplotlib.colormaps[PALETTES["light"].signed].resampled(_COLOURS)
    pixels = colours((np.asarray(w_IO) / bound + 1) / 2, bytes=True)[..., :3]
    buffer = io.BytesIO()
    image = Image.fromarray(pixels).quantize(_COLOURS + 1, dither=Image.Dither.NONE)
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _connect(
    figure: Figure, pictures: list[Axes], train: Axes, epochs: Array, palette: Palette
) -> None:
    """A line from the foot of each picture to its epoch on the axis of the loss."""
    from matplotlib.patches import ConnectionPatch

    for axes, epoch in zip(pictures, epochs, strict=True):
        line = ConnectionPatch(
            xyA=(0.5, -0.15 if axes.get_xlabel() else -0.02),
            coordsA=axes.transAxes,
            xyB=(float(epoch), 1.0),
            coordsB=train.get_xaxis_transform(),
            color=palette.faint,
            linewidth=0.6,
            linestyle=":",
        )
        line.set_in_layout(False)
        figure.add_artist(line)
