"""The figure of combined goals: who meets which, who learns, and how they go along."""

import numpy as np
import xarray as xr

from birthmark.figures import Drawing, Palette, name_panel, new_figure
from birthmark.seeds import stream
from birthmark.shapes import Array
from ..frame.curves import Axes, Data, Figure, paint_marks, stack_interval, take
from ..statistics import correlate_ranks
from .facts import TWINS

_ROW = 0.135  # inches that a start takes
_KINDS = {
    "table": ("rule of the table", "o"),
    "batch": ("looks at a batch", "s"),
    "variant": ("variant", "^"),
    "combined": ("combined", "D"),
}
_SPREAD = 0.28  # of points with the same number of goals, to both sides


def draw(results: xr.Dataset) -> Drawing:
    """Four panels; see the caption."""
    loss_LA = results["mean_test_loss"].mean("replica").transpose("lr", ...).to_numpy()
    main = results["mean_test_loss"].isel(lr=0).transpose("initialization", "replica")
    met_AG = results["is_met"].transpose("initialization", "goal").to_numpy()
    goals = [str(one) for one in results["goal_title"].to_numpy()]
    confidence = 1 - 0.05 / len(goals)
    count_A = met_AG.sum(axis=1)
    twins = list(TWINS)
    counts = {
        "all six": count_A,
        "the two of variance": met_AG[:, twins].sum(axis=1),
        "the other four": np.delete(met_AG, twins, axis=1).sum(axis=1),
    }
    whole = [correlate_ranks(one, -loss_LA[0]) for one in counts.values()]
    single = [
        correlate_ranks(met_AG[:, place], -loss_LA[0], confidence=confidence)
        for place in range(len(goals))
    ]
    lrs = [f"{lr:g}" for lr in results["lr"].to_numpy()]
    title = "Goals of a start, and how quickly it learns"
    caption = (
        f"{title}. (a) Goals that each start meets (filled), the quickest start on "
        "top. (b) Mean test loss over the training, where a loss above that of a guess "
        "counts as that; points: means of "
        f"{results.sizes['replica']} replicas, bars: Student's 95 % interval; hollow: "
        f"at the lower learning rate, {lrs[1]}; dotted line: a guess. (c) The same "
        "mean against the number of goals, points of one number spread sideways. (d) "
        "Spearman's rank correlation between goals met and speed (minus the mean test "
        "loss) over all starts, of numbers of goals (colour) and single ones; bars: "
        "bootstrap over starts, 95 %, for all single goals together. Protocol: "
        f"{results.attrs['protocol']}"
    )
    rho = [[one.rho, one.rho_low, one.rho_high] for one in whole + single]
    data = take(results, ("initialization", "kind")) | {
        "goal": np.array(goals),
        "met": met_AG,
        "loss": stack_interval(main.to_numpy()),
        "other": loss_LA[1],
        "what": np.array([*counts, *goals]),
        "num_counts": np.array(len(counts)),
        "rho": np.array(rho),
    }
    return Drawing("combined-goals", 0, title, caption, data, paint)


def paint(data: Data, palette: Palette) -> Figure:
    """A tall row of matrix and losses, and a row of correlations."""
    rows = len(data["initialization"])
    figure = new_figure(3.3 + _ROW * rows)
    heights = [_ROW * rows + 1.0, 2.3]
    tall, flat = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    left, right = tall.subplots(1, 2, sharey=True, width_ratios=[1, 2.2])
    order = np.argsort(data["loss"][0], kind="stable")
    _paint_matrix(left, data, order, palette)
    _paint_losses(right, data, order, palette)
    scatter, forest = flat.subplots(1, 2, width_ratios=[1, 1])
    _paint_scatter(scatter, data, palette)
    _paint_forest(forest, data, palette)
    return figure


def _paint_matrix(axes: Axes, data: Data, order: Array, palette: Palette) -> None:
    met_AG = data["met"][order]
    row, column = np.nonzero(met_AG)
    axes.plot(column, row, "s", color=palette.lines[0], markersize=5)
    row, column = np.nonzero(~met_AG.astype(bool))
    axes.plot(column, row, "_", color=palette.faint, markersize=4)
    axes.set_yticks(range(len(order)), labels=data["initialization"][order])
    axes.tick_params(axis="y", labelsize=6, length=0)
    axes.set_ylim(len(order) - 0.3, -0.7)
    num_goals = met_AG.shape[1]
    axes.set_xticks(range(num_goals), labels=data["goal"], rotation=35, ha="right")
    axes.set_xlim(-0.6, num_goals - 0.4)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    name_panel(axes, "a", "goals met")


def _paint_losses(axes: Axes, data: Data, order: Array, palette: Palette) -> None:
    mean, low, high = data["loss"][:, order]
    place = np.arange(len(order))
    axes.axvline(np.log(10), color=palette.faint, linestyle=":", linewidth=1)
    style = {"fill": palette.paper, "markersize": 3.5, "label": "lower learning rate"}
    paint_marks(axes, data["other"][order], place, "o", palette.faint, **style)
    axes.hlines(place, low, high, color=palette.ink, linewidth=0.9)
    for number, (kind, (label, marker)) in enumerate(_KINDS.items()):
        use, colour = data["kind"][order] == kind, palette.lines[number]
        paint_marks(axes, mean[use], place[use], marker, colour, label=label)
    axes.grid(axis="y", color=palette.faint, linewidth=0.3, alpha=0.4)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("mean test loss over the training (nat)")
    axes.legend(loc="lower left")
    name_panel(axes, "b", "learning; less is quicker")


def _paint_scatter(axes: Axes, data: Data, palette: Palette) -> None:
    count_A = data["met"].sum(axis=1)
    aside = stream(0, 0, "figure", "aside").uniform(-_SPREAD, _SPREAD, len(count_A))
    for number, (kind, (_, marker)) in enumerate(_KINDS.items()):
        use, x_A, y_A = data["kind"] == kind, count_A + aside, data["loss"][0]
        paint_marks(axes, x_A[use], y_A[use], marker, palette.lines[number])
    axes.axhline(np.log(10), color=palette.faint, linestyle=":", linewidth=1)
    axes.set_xticks(range(data["met"].shape[1] + 1))
    axes.set(xlabel="goals met", ylabel="mean test loss (nat)")
    name_panel(axes, "c")


def _paint_forest(axes: Axes, data: Data, palette: Palette) -> None:
    place = np.arange(len(data["what"]))
    rho, low, high = data["rho"].T
    whole, single = palette.lines[1], palette.ink
    colours = [whole if at < data["num_counts"] else single for at in place]
    axes.axvline(0, color=palette.faint, linewidth=0.8)
    axes.hlines(place, low, high, color=colours, linewidth=1.2)
    axes.scatter(rho, place, c=colours, s=14, zorder=3)
    axes.set_yticks(place, labels=data["what"])
    axes.set(ylim=(len(place) - 0.5, -0.5), xlim=(-1, 1))
    axes.set_xticks([-1, -0.5, 0, 0.5, 1])
    axes.set_xlabel("rank correlation with speed")
    name_panel(axes, "d")
