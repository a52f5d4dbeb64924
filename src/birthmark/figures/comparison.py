"""Initializations side by side: learning curves, and a forest of paired differences."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from birthmark.analysis import METHOD, Comparison, join_curves
from birthmark.figures.canvas import label_log, name_panel, new_figure
from birthmark.figures.captions import describe_comparison
from birthmark.figures.drawings import Drawing
from birthmark.figures.files import write_drawings
from birthmark.figures.palettes import Palette, choose_style
from birthmark.shapes import Array
from birthmark.statistics import Ranking, summarize_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS: dict[str, tuple[str, Literal["linear", "log"]]] = {
    "test_loss": ("test loss", "log"),
    "test_accuracy": ("test accuracy (share)", "linear"),
    "distance": ("distance travelled (weight)", "log"),
    "distinct_share": ("distinct units over units", "linear"),
}
_SAID = {
    "test_loss": "test loss",
    "test_accuracy": "test accuracy",
    "distance": "L2 distance of all weights and biases from their start",
    "distinct_share": "distinct units over units in the hidden layer where that is "
    "least",
}
_FAR = 15  # half intervals: a difference so large makes the axis logarithmic
_ROW = 0.17  # inches that a pair takes
_ROOM = 1.1  # inches for title, axis and legend


def draw_comparison(comparison: Comparison) -> list[Drawing]:
    """Learning curves with intervals, and the paired differences of all pairs."""
    return [_draw_curves(comparison), _draw_forest(comparison)]


def write_comparison(comparison: Comparison, folder: str | Path) -> list[Path]:
    """Write both as PDF, PNG, data and caption.

    Raises:
        StoreError: The folder cannot be written.
    """
    return write_drawings(draw_comparison(comparison), folder)


def _draw_curves(comparison: Comparison) -> Drawing:
    curves = join_curves(comparison)
    data: dict[str, Array] = {
        "candidate": np.array(comparison.names),
        "step": comparison.candidates[0].step_T,
    }
    shown = [name for name in _PANELS if name in curves]
    for name in shown:
        values = curves[name].to_numpy()
        found = summarize_curves(values, _find_scale(name, values))
        data |= {
            name: found.mean,
            f"{name}_low": found.low,
            f"{name}_high": found.high,
        }
    title = "Learning curves by initialization"
    panels = (f"({at}) {_SAID[one]}" for at, one in zip("abcd", shown, strict=False))
    caption = (
        f"{title}: {', '.join(panels)}. Lines: means over replicas (geometric on log "
        f"axes); bands: Student's 95 % interval of the mean, n = "
        f"{comparison.num_replicas}; replicas stopped by NaN or Inf are left out from "
        f"there on. {describe_comparison(comparison)}"
    )
    return Drawing(
        f"comparison-curves-{_stem(comparison)}", 0, title, caption, data, paint_curves
    )


def _draw_forest(comparison: Comparison) -> Drawing:
    chosen = _choose(comparison)
    data: dict[str, Array] = {
        "pair": np.array([f"{pair.a} - {pair.b}" for pair in chosen[0].pairs]),
        "outcome": np.array([_label(one) for one in chosen]),
        "better": np.array([one.outcome.better for one in chosen]),
    }
    for name in ("difference", "low", "high", "wide_low", "wide_high", "p_holm"):
        rows = [[getattr(pair, name) for pair in one.pairs] for one in chosen]
        data[name] = np.array(rows)
    data["is_distinguished"] = np.array(
        [[pair.is_distinguished for pair in one.pairs] for one in chosen]
    )
    title = "Paired differences of all pairs of initializations"
    caption = (
        f"{title}, first minus second. Filled: told apart; hollow: no difference seen. "
        "Thick: 95 % interval of this pair alone; thin: of all pairs of the outcome "
        "together (Bonferroni; Holm's steps tell a little more apart); a point without "
        "an interval: all replicas differ by the same. Where differences are far "
        "larger than intervals, the axis is "
        f"logarithmic on both sides of a linear middle. Method: {METHOD}. "
        f"{' '.join(_say_how(one) for one in chosen)} {describe_comparison(comparison)}"
    )
    return Drawing(
        f"comparison-differences-{_stem(comparison)}",
        0,
        title,
        caption,
        data,
        paint_forest,
    )


def _choose(comparison: Comparison) -> list[Ranking]:
    """Final accuracy, mean loss, and the steps to the lowest loss that some reach."""
    reached = [
        one
        for one in comparison.rankings
        if one.outcome.unit == "steps" and not one.outcome.censored_AR.all()
    ]
    wanted = ("test_accuracy", "mean_test_loss")
    named = [one for one in comparison.rankings if one.outcome.name in wanted]
    return named + reached[-1:]


def _label(ranking: Ranking) -> str:
    return f"{ranking.outcome.title} ({ranking.outcome.unit})"


def _say_how(ranking: Ranking) -> str:
    title = ranking.outcome.title
    return f"{title[0].upper()}{title[1:]}: {ranking.outcome.how}."


def _stem(comparison: Comparison) -> str:
    spec = comparison.candidates[0].spec
    widths = "-".join(map(str, spec.network.widths))
    network = "model" if comparison.candidates[0].own else widths
    return re.sub(r"[^A-Za-z0-9.]+", "-", f"{spec.data.name}-{network}")


def paint_curves(data: Mapping[str, Array], palette: Palette) -> Figure:
    """Up to four panels over the steps, one legend for all."""
    shown = [name for name in _PANELS if name in data]
    figure = new_figure(5.2)
    panels = figure.subplots(2, 2, sharex=True)
    for axes, letter, name in zip(panels.flat, "abcd", shown, strict=False):
        for place, candidate in enumerate(data["candidate"]):
            _paint_curve(axes, data, name, place, str(candidate), palette)
        if _find_scale(name, data[name]) == "log":
            label_log(axes)
        axes.set_ylabel(_PANELS[name][0])
        axes.set_xlabel("optimizer steps")
        axes.tick_params(labelbottom=True)  # below an empty place too
        name_panel(axes, letter)
    for axes in panels.flat[len(shown) :]:
        axes.set_axis_off()
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, handlelength=3)
    return figure


def _find_scale(name: str, values: Array) -> Literal["linear", "log"]:
    """That of the panel, but where a loss of the user's own is zero or below."""
    return _PANELS[name][1] if np.nanmin(values, initial=1.0) > 0 else "linear"


def _paint_curve(
    axes: Axes,
    data: Mapping[str, Array],
    name: str,
    place: int,
    candidate: str,
    palette: Palette,
) -> None:
    style = choose_style(place, palette)
    step, mean = data["step"], data[name][place]
    known = np.isfinite(mean)
    axes.plot(step[known], mean[known], label=candidate, **style)
    axes.fill_between(
        step[known],
        data[f"{name}_low"][place][known],
        data[f"{name}_high"][place][known],
        color=style["color"],
        alpha=0.2,
        linewidth=0,
    )


def paint_forest(data: Mapping[str, Array], palette: Palette) -> Figure:
    """One row a pair, one panel an outcome."""
    rows, columns = len(data["pair"]), len(data["outcome"])
    figure = new_figure(_ROOM + _ROW * rows)
    panels = figure.subplots(1, columns, sharey=True, squeeze=False)[0]
    for place, (axes, letter) in enumerate(zip(panels, "abc", strict=False)):
        axes.axvline(0, color=palette.faint, linewidth=0.8, zorder=0)
        _paint_differences(axes, data, place, palette)
        _scale_around_zero(axes, data, place)
        axes.set_xlabel(f"{_wrap(str(data['outcome'][place]))}\n{_hint(data, place)}")
        name_panel(axes, letter)
    panels[0].set_yticks(range(rows), labels=list(data["pair"]))
    panels[0].set_ylim(rows - 0.5, -0.5)
    return figure


def _paint_differences(
    axes: Axes, data: Mapping[str, Array], place: int, palette: Palette
) -> None:
    for row, difference in enumerate(data["difference"][place]):
        seen = data["is_distinguished"][place, row]
        colour = palette.lines[0] if seen else palette.faint
        for name, width in (("wide_", 0.7), ("", 2.2)):
            ends = [data[f"{name}{end}"][place, row] for end in ("low", "high")]
            axes.plot(ends, [row, row], color=colour, linewidth=width)
        axes.plot(
            difference,
            row,
            "o",
            markersize=4,
            color=colour,
            markerfacecolor=colour if seen else palette.paper,
        )


def _scale_around_zero(axes: Axes, data: Mapping[str, Array], place: int) -> None:
    """Linear for the size of an interval, logarithmic beyond, where that is far."""
    halves = (data["wide_high"] - data["wide_low"])[place] / 2
    half = float(np.nanmedian(halves)) if np.isfinite(halves).any() else 0.0
    largest = float(np.abs(data["difference"][place]).max())
    if not half or largest < _FAR * half:
        return
    near, far = _round_down(2 * half), _round_down(largest)
    axes.set_xscale("symlog", linthresh=near, linscale=1.5)
    ticks = [-far, -near, 0, near, far]
    axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])


def _round_down(value: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above it."""
    decade = 10.0 ** np.floor(np.log10(value))
    return float(max(n * decade for n in (1, 2, 5) if n * decade <= value))


def _hint(data: Mapping[str, Array], place: int) -> str:
    """Which side is better for the first of a pair."""
    return "first better →" if data["better"][place] == "high" else "← first better"


def _wrap(text: str, width: int = 30) -> str:
    words, lines = text.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
