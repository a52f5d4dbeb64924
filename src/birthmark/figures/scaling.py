"""Figure 6: the deviation at equal loss against width, in three norms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from birthmark.analysis import (
    DeviationAtLoss,
    Measure,
    PowerLaw,
    choose_losses,
    deviation_at_loss,
)
from birthmark.figures.canvas import (
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
from birthmark.statistics import summarize_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS = 3  # of the loss
LEAST = 3  # replicas of an interval: that of two spans decades
_NORMS: dict[Measure, str] = {
    "deviation_std": "standard deviation (weight)",
    "distance": "Frobenius norm (weight)",
    "spectral_distance": "spectral norm (weight)",
}


def draw_scaling(family: Family) -> list[Drawing]:
    """One drawing over all widths.

    Raises:
        NothingToDrawError: There is one width, or no loss that two widths reach.
    """
    study = family.widest
    if len(study.widths) < 2:
        raise NothingToDrawError(WIDTHS_NEEDED)
    chance = family.columns[0][0].transitions[0].chance_loss
    losses = _spread(choose_losses(study, chance))
    if not losses:
        raise NothingToDrawError(
            "no train loss is reached by two replicas each of two widths: train "
            "longer, or with more replicas"
        )
    data = {"widths": np.array(study.widths), "losses": np.array(losses)}
    for measure in _NORMS:
        found = deviation_at_loss(study, losses, measure=measure)
        data |= {f"{measure}_{name}": x for name, x in _numbers(found).items()}
    reached = data["deviation_std_reached"]
    counts = "; ".join(
        f"loss {loss:.3g}: {', '.join(map(str, row))}"
        for loss, row in zip(losses, reached, strict=True)
    )
    title = "Deviation at equal train loss against width"
    caption = (
        f"{title}, of the weights in {found.layer}, when the train loss (running "
        "median over five epochs) first reaches each level: (a) standard deviation "
        "over the weights, (b) Frobenius norm, (c) spectral norm of the deviation "
        "(recorded at fewer epochs, interpolated). Small points are replicas, large "
        f"ones their geometric mean with Student's 95 % interval (from {LEAST} "
        "replicas on); lines are power laws, deviation ~ width^-γ, fitted over the "
        "replicas, with γ and its 95 % bootstrap interval; γ = 0 is the null model of "
        "no dependence on width. Replicas that reach the level, of "
        f"{', '.join(map(str, found.replicas))} at widths "
        f"{', '.join(map(str, study.widths))}: {counts}. "
        f"{describe_protocol(study.runs)}"
    )
    name = f"figure6-scaling-{family.name}"
    return [Drawing(name, 6, title, caption, data, paint)]


def _spread(losses: list[float]) -> list[float]:
    places = np.linspace(0, len(losses) - 1, min(LEVELS, len(losses)))
    return [losses[i] for i in np.unique(places.round().astype(int))]


def _numbers(found: DeviationAtLoss) -> dict[str, Array]:
    """Values [J, W, R], their mean with interval [3, J, W], the fits [J, 4]."""
    mean = summarize_curves(found.values, "log")
    known = mean.n >= LEAST
    return {
        "values": found.values,
        "mean": np.stack(
            [
                mean.mean,
                np.where(known, mean.low, np.nan),
                np.where(known, mean.high, np.nan),
            ]
        ),
        "reached": found.reached,
        "fits": np.array([_fit(one) for one in found.fits]),
    }


def _fit(law: PowerLaw | None) -> list[float]:
    """Exponent, low, high, intercept."""
    if law is None:
        return [np.nan] * 4
    return [law.exponent, law.low, law.high, law.intercept]


def paint(data: Mapping[str, Array], palette: Palette) -> Figure:
    """Three panels, log-log, a colour for each level of the loss."""
    figure = new_figure(3.3)
    axes = figure.subplots(1, 3)
    ends = {measure: _ends(data, measure) for measure in _NORMS}
    span = 1.1 * max(high - low for low, high in ends.values())
    for panel, letter, (measure, label) in zip(
        axes, "abc", _NORMS.items(), strict=True
    ):
        _paint_norm(panel, data, measure, palette)
        # as many decades in each panel, so that slopes can be compared; room for text
        middle = sum(ends[measure]) / 2
        low, high = middle - span / 2, middle + span / 2
        panel.set(ylabel=label, ylim=(10 ** (low - 0.28 * span), 10**high))
        label_log(panel)
        name_panel(panel, letter)
    handles, _ = axes[0].get_legend_handles_labels()
    labels = [f"train loss {loss:.3g}" for loss in data["losses"]]
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _ends(data: Mapping[str, Array], measure: str) -> tuple[float, float]:
    """Decades between which the values and the intervals lie."""
    shown = [data[f"{measure}_values"].ravel(), *data[f"{measure}_mean"]]
    every = np.log10(np.concatenate([one.ravel() for one in shown]))
    return float(np.nanmin(every)), float(np.nanmax(every))


def _paint_norm(
    axes: Axes, data: Mapping[str, Array], measure: str, palette: Palette
) -> None:
    widths = data["widths"]
    mean, low, high = data[f"{measure}_mean"]
    lines = []
    for place, colour in zip(range(len(data["losses"])), palette.lines, strict=False):
        x = shift_widths(widths, place - (len(data["losses"]) - 1) / 2, "log")
        values = data[f"{measure}_values"][place]
        axes.plot(x, values, ".", color=colour, markersize=2.5, alpha=0.6)
        spread = np.stack([mean[place] - low[place], high[place] - mean[place]])
        axes.errorbar(
            x,
            mean[place],
            yerr=np.nan_to_num(spread),
            fmt="o",
            color=colour,
            markersize=4,
            elinewidth=0.9,
            capsize=2,
            label=str(place),
        )
        exponent, *interval, intercept = data[f"{measure}_fits"][place]
        if np.isfinite(exponent):
            fitted = np.exp(intercept - exponent * np.log(widths))
            use = np.isfinite(mean[place])
            axes.plot(x[use], fitted[use], color=colour, linewidth=0.9)
            lines.append((colour, _say_exponent(exponent, *interval)))
    scale_widths(axes, widths, "log")
    for row, (colour, text) in enumerate(reversed(lines)):
        axes.annotate(
            text,
            (0.02, 0.02 + 0.065 * row),
            xycoords="axes fraction",
            color=colour,
            fontsize=7,
        )


def _say_exponent(exponent: float, low: float, high: float) -> str:
    text = f"γ = {exponent:.2f}"
    text = text if np.isnan(low) else f"{text} ({low:.2f} to {high:.2f})"
    return text.replace("-", "−")
