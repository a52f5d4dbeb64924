"""Figure 2: losses of several widths, the phase diagram, and the least losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from birthmark.analysis import (
    FIGURE_2,
    REGIMES,
    Run,
    Study,
    follows_paper,
    map_regimes,
    phase_diagram,
)
from birthmark.figures.canvas import (
    Scale,
    choose_scale,
    draw_error_bars,
    label_log,
    name_panel,
    new_figure,
    scale_widths,
    shift_widths,
)
from birthmark.figures.captions import describe_protocol
from birthmark.figures.drawings import Drawing
from birthmark.figures.families import WIDTHS_NEEDED, Family, NothingToDrawError
from birthmark.figures.palettes import Palette
from birthmark.shapes import Array
from birthmark.statistics import Estimate, summarize_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

CURVES = 4  # widths whose losses are shown
_EPOCHS = ("min_train_epoch", "min_test_epoch", "divergence_epoch")
_LOSSES = ("min_train_loss", "min_test_loss")


def draw_regimes(family: Family) -> list[Drawing]:
    """One drawing over all widths.

    Raises:
        NothingToDrawError: All runs have one width, and nothing was published on it.
    """
    study = family.widest
    is_papers = all(follows_paper(run.spec) for run in study)
    if len(study.widths) < 2 and not is_papers:
        raise NothingToDrawError(WIDTHS_NEEDED)
    phases = phase_diagram(study, family.thresholds)
    regimes = map_regimes(study, family.thresholds)
    shown = _spread(study.widths)
    data = {
        "widths": np.array(phases.widths),
        "curve_widths": np.array(shown),
        "map_epochs": regimes.epochs,
        "regime": regimes.majority,
        "regime_counts": regimes.counts,
        "replicas": phases.replicas,
    }
    for name in (*_EPOCHS, *_LOSSES):
        data[name] = _table(getattr(phases, name), phases.replicas)
    for width in shown:
        data |= _losses(study, width)
    beside = ""
    if is_papers:
        data |= _published()
        beside = (
            "Diamonds in (c) and (d): the published figure (arXiv 2012.02550, means of "
            "ten networks), read off by eye, with the error of reading, 5 %, or the "
            "published error bar where it is longer; epochs beyond 1000 are not drawn. "
        )
    lines = family.thresholds
    caption = (
        "(a), (b) Train loss (mean over each epoch) and test loss of widths "
        f"{', '.join(map(str, shown))}: thin lines are replicas, thick ones their "
        "geometric mean. (c) Phase diagram: mean epoch of the minimum train loss, of "
        "the minimum test loss, and of divergence (train loss at or above "
        f"{lines.divergence:g} of the plateau of the clipped loss; for other losses, "
        "above that of chance after the minimum), over the replicas in which it was "
        "seen; hollow where these are fewer than half; an epoch of minimum is not "
        "seen while the loss still falls. Colours: the regime of most replicas (high "
        f"trainability: train loss below {lines.reached:g} of chance; untrainability: "
        "after a minimum that training goes on to make worse). (d) Mean of the least "
        "losses. Error bars: 95 % intervals, Student's t over replicas; n as "
        f"named below. {beside}{describe_protocol(study.runs)}"
    )
    title = f"Regimes of training at {_say_widths(study.widths)}"
    name = f"figure2-regimes-{family.name}"
    return [Drawing(name, 2, title, caption, data, paint)]


def _say_widths(widths: tuple[int, ...]) -> str:
    return f"width {widths[0]}" if len(widths) == 1 else f"{len(widths)} widths"


def _published() -> dict[str, Array]:
    """The numbers of the paper by width, each with its error, [W, 2]; NaN: none."""
    data = {"paper_widths": np.array([one.width for one in FIGURE_2])}
    for name in (*_EPOCHS, *_LOSSES):
        pairs = [(getattr(one, name), one.error(name)) for one in FIGURE_2]
        data[f"paper_{name}"] = np.where(np.isfinite(pairs), pairs, np.nan)
    return data


def _spread(widths: tuple[int, ...]) -> list[int]:
    """Up to four widths, from the narrowest to the widest."""
    places = np.linspace(0, len(widths) - 1, min(CURVES, len(widths)))
    return [widths[i] for i in np.unique(places.round().astype(int))]


def _table(estimates: tuple[Estimate, ...], replicas: Array) -> Array:
    """Mean, low, high, share of the replicas with a value, [W, 4]."""
    return np.array(
        [
            [one.mean, one.low, one.high, one.n / n]
            for one, n in zip(estimates, replicas, strict=True)
        ]
    )


def _losses(study: Study, width: int) -> dict[str, Array]:
    runs = study.at_width(width)
    length = min(run.records.sizes["step"] for run in runs)

    def joined(run_values: str) -> Array:
        return np.concatenate([_head(run, run_values, length) for run in runs], axis=1)

    data = {f"epochs_{width}": runs[0].records["epoch"].to_numpy()[:length]}
    for name in ("train_loss", "test_loss"):
        data[f"{name}_{width}"] = joined(name)
        data[f"{name}_mean_{width}"] = summarize_curves(joined(name), "log").mean
    return data


def _head(run: Run, name: str, length: int) -> Array:
    return run.values(name)[:length]


def paint(data: Mapping[str, Array], palette: Palette) -> Figure:
    """Four panels: two of curves above, phase diagram and least losses below."""
    figure = new_figure(5.6)
    scale = choose_scale(_all_widths(data))
    axes = figure.subplots(2, 2, height_ratios=[1, 1.25])
    for panel, letter, name in (
        (axes[0, 0], "a", "train"),
        (axes[0, 1], "b", "test"),
    ):
        _paint_losses(panel, data, f"{name}_loss", palette)
        panel.set(xlabel="epoch", ylabel=f"{name} loss")
        name_panel(panel, letter)
    axes[0, 1].legend(title="width", loc="best", title_fontsize=7)
    _paint_phases(axes[1, 0], data, palette)
    name_panel(axes[1, 0], "c")
    for place, name, colour, label in (
        (-0.5, "min_train_loss", palette.train, "train"),
        (0.5, "min_test_loss", palette.test, "test"),
    ):
        draw_error_bars(
            axes[1, 1],
            shift_widths(data["widths"], place, scale),
            data[name],
            colour=colour,
            palette=palette,
            label=label,
        )
        _paint_published(axes[1, 1], data, name, colour, palette)
    axes[1, 1].set(ylabel="least loss")
    label_log(axes[1, 1])
    scale_widths(axes[1, 1], _all_widths(data), scale)
    axes[1, 1].legend()
    name_panel(axes[1, 1], "d")
    return figure


def _paint_losses(
    axes: Axes, data: Mapping[str, Array], name: str, palette: Palette
) -> None:
    for width, colour in zip(data["curve_widths"], palette.lines, strict=False):
        epochs = data[f"epochs_{width}"][1:]
        axes.plot(
            epochs,
            data[f"{name}_{width}"][1:],
            color=colour,
            linewidth=0.4,
            alpha=0.35,
            rasterized=True,
        )
        axes.plot(epochs, data[f"{name}_mean_{width}"][1:], color=colour, label=width)
    axes.set_xscale("log")
    label_log(axes)


def _paint_phases(axes: Axes, data: Mapping[str, Array], palette: Palette) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    widths, epochs = data["widths"], data["map_epochs"][1:]
    every = _all_widths(data)
    scale = choose_scale(every)
    axes.pcolormesh(
        _edges(widths, scale),
        np.append(epochs, epochs[-1] + 1) - 0.5,
        np.ma.masked_less(data["regime"][:, 1:].T, 0),
        cmap=ListedColormap(palette.regions),
        vmin=-0.5,
        vmax=2.5,
        rasterized=True,
        zorder=0,
    )
    for place, name, colour, label in (
        (-1, "min_train_epoch", palette.train, "minimum train loss"),
        (1, "min_test_epoch", palette.test, "minimum test loss"),
        (0, "divergence_epoch", palette.divergence, "divergence"),
    ):
        if np.isfinite(data[name][:, 0]).any():
            draw_error_bars(
                axes,
                shift_widths(widths, place, scale),
                data[name],
                colour=colour,
                palette=palette,
                label=label,
            )
        _paint_published(axes, data, name, colour, palette)
    axes.set_yscale("log")
    axes.set(ylabel="epoch", ylim=(epochs[0], epochs[-1]))
    scale_widths(axes, every, scale)
    axes.set_xlim(*_edges(every, scale)[[0, -1]])
    lines, _ = axes.get_legend_handles_labels()
    regions = [
        Patch(facecolor=colour, label=name)
        for name, colour in zip(REGIMES, palette.regions, strict=True)
    ]
    if "paper_widths" in data:
        lines.append(_paper_key(palette))
    axes.figure.legend(handles=[*lines, *regions], loc="outside lower center", ncols=3)


def _paint_published(
    axes: Axes, data: Mapping[str, Array], name: str, colour: str, palette: Palette
) -> None:
    """Diamonds for the numbers of the paper, where there are any."""
    if "paper_widths" not in data:
        return
    value, error = data[f"paper_{name}"].T
    axes.errorbar(
        data["paper_widths"],
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


def _all_widths(data: Mapping[str, Array]) -> Array:
    """Ours and those of the paper, rising."""
    return np.union1d(data["widths"], data.get("paper_widths", data["widths"]))


def _edges(widths: Array, scale: Scale) -> Array:
    """Borders half-way between widths, on the scale of their axis.

    A single width reaches a tenth to each side.
    """
    if len(widths) == 1:
        return np.array([0.9 * widths[0], 1.1 * widths[0]])
    x = np.log(widths) if scale == "log" else widths.astype(float)
    middle = (x[1:] + x[:-1]) / 2
    edges = np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]])
    return np.exp(edges) if scale == "log" else edges
