"""Figure 6: the deviation at equal loss along an axis, in three norms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from birthmark.analysis import (
    DeviationAtLoss,
    Family,
    Line,
    Measure,
    NothingFoundError,
    choose_loss,
    choose_losses,
    deviation_at_loss,
)
from birthmark.figures.canvas import (
    axis_data,
    draw_error_bars,
    label_log,
    name_panel,
    new_figure,
    shift_places,
    tick_axis,
)
from birthmark.figures.captions import describe_family
from birthmark.figures.drawings import Drawing
from birthmark.figures.palettes import Palette
from birthmark.shapes import Array
from birthmark.statistics import PowerLaw, summarize_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS = 3  # of the loss
LINES = 5  # values of a series, a colour each
LEAST = 3  # replicas of an interval: that of two spans decades
TWO_NEEDED = "it needs two values of a field, in runs that are the same in all else"
_NORMS: dict[Measure, str] = {
    "deviation_std": "standard deviation (weight)",
    "distance": "Frobenius norm (weight)",
    "spectral_distance": "spectral norm (weight)",
}


@dataclass(frozen=True)
class _Curve:
    """One colour: a level of the loss, or a value of the series at one level."""

    label: str
    line: Line
    loss: float


def draw_scaling(family: Family) -> list[Drawing]:
    """One drawing along the axis: levels of the loss in colours, or else the series.

    Raises:
        NothingFoundError: There is one value, or no loss that is reached at two.
    """
    if not family.is_along:
        raise NothingFoundError(TWO_NEEDED)
    curves = _choose_curves(family)
    if not curves:
        raise NothingFoundError(
            "no train loss is reached by two replicas each at two values of "
            f"{family.axis.noun}: train longer, or with more replicas"
        )
    axis = family.axis
    data = axis_data(axis) | {
        "losses": np.array([one.loss for one in curves]),
        "labels": np.array([one.label for one in curves]),
    }
    counts = ""
    for measure in _NORMS:
        found = [
            deviation_at_loss(c.line.study, [c.loss], measure=measure) for c in curves
        ]
        data |= {f"{measure}_{n}": x for n, x in _numbers(family, found).items()}
        counts = counts or "; ".join(map(_say_reached, curves, found))
    has_law = bool(np.isfinite(data["deviation_std_fits"]).any())
    if has_law and min(data["axis"]) > 0:  # on which a power law is a straight line
        data["axis_places"] = np.log(data["axis"])
    noun = axis.noun
    title = f"Deviation at equal train loss along {noun}"
    law = (
        f"lines are power laws, deviation ~ {noun}^-γ, fitted over the replicas, with "
        "γ and Student's 95 % interval; γ = 0 is the null model of no dependence "
        f"on {noun}. "
        if has_law
        else f"the null model is no dependence on {noun}, one height. "
    )
    caption = (
        f"{title}, of the weights in {family.study.runs[0].layer}, when the train loss "
        "(running median over five epochs) first reaches each level: (a) standard "
        "deviation over the weights, (b) Frobenius norm, (c) spectral norm of the "
        "deviation (recorded at fewer epochs, interpolated). Small points are "
        "replicas, "
        f"large ones their geometric mean with Student's 95 % interval (from {LEAST} "
        "replicas on), hollow where fewer than half reach the level; "
        f"{law}Replicas that reach the level, along {noun}: {counts}."
    )
    name = f"figure6-scaling-{family.name}"
    protocol = describe_family(family)
    return [Drawing(name, 6, title, caption, data, paint, protocol, family.name)]


def _choose_curves(family: Family) -> list[_Curve]:
    chance = family.columns[0].transitions[0].chance_loss
    if family.series is None:
        (line,) = family.lines
        losses = _spread(choose_losses(line.study, chance))
        return [_Curve(f"train loss {loss:.3g}", line, loss) for loss in losses]
    loss = choose_loss(family.study, chance)
    if loss is None:
        return []
    say = family.series.say
    return [
        _Curve(f"{say(line.value)}, train loss {loss:.3g}", line, loss)
        for line in family.lines[:LINES]
    ]


def _say_reached(curve: _Curve, found: DeviationAtLoss) -> str:
    pairs = zip(found.reached[0], found.replicas, strict=True)
    return f"{curve.label}: {', '.join(f'{n} of {r}' for n, r in pairs)}"


def _spread(losses: list[float]) -> list[float]:
    places = np.linspace(0, len(losses) - 1, min(LEVELS, len(losses)))
    return [losses[i] for i in np.unique(places.round().astype(int))]


def _numbers(family: Family, found: list[DeviationAtLoss]) -> dict[str, Array]:
    """Values [J, A, R], their mean with interval [3, J, A], the fits [J, 4]."""
    most = max(one.values.shape[-1] for one in found)
    values = np.full((len(found), len(family.axis.values), most), np.nan)
    share = np.full(values.shape[:2], np.nan)
    for place, one in enumerate(found):
        at = [family.axis.values.index(value) for value in one.along]
        values[place, at, : one.values.shape[-1]] = one.values[0]
        share[place, at] = one.reached[0] / one.replicas
    mean = summarize_curves(values, "log")
    known = mean.n >= LEAST
    low, high = (np.where(known, end, np.nan) for end in (mean.low, mean.high))
    return {
        "values": values,
        "mean": np.stack([mean.mean, low, high]),
        "reached": np.isfinite(values).sum(axis=-1),
        "share": share,
        "fits": np.array([_fit(one.fits[0]) for one in found]),
    }


def _fit(law: PowerLaw | None) -> list[float]:
    """Exponent, low, high, intercept."""
    if law is None:
        return [np.nan] * 4
    return [law.exponent, law.low, law.high, law.intercept]


def paint(data: Mapping[str, Array], palette: Palette) -> Figure:
    """A panel a norm, a colour for each level of the loss or value of the series.

    What was measured at none of the times, as spectra may be, has no panel.
    """
    figure = new_figure(3.3)
    norms = {n: label for n, label in _NORMS.items() if _is_known(data, n)}
    axes = figure.subplots(1, len(norms), squeeze=False)[0]
    ends = {measure: _ends(data, measure) for measure in norms}
    span = 1.1 * max(high - low for low, high in ends.values())
    for panel, letter, (measure, label) in zip(
        axes, "abc", norms.items(), strict=False
    ):
        _paint_norm(panel, data, measure, palette)
        # as many decades in each panel, so that slopes can be compared; room for text
        middle = sum(ends[measure]) / 2
        low, high = middle - span / 2, middle + span / 2
        panel.set(ylabel=label, ylim=(10 ** (low - 0.28 * span), 10**high))
        label_log(panel)
        name_panel(panel, letter)
    handles, _ = axes[0].get_legend_handles_labels()
    labels = [str(label) for label in data["labels"]]
    ncols = max(1, min(len(labels), 110 // (max(map(len, labels)) + 6)))
    figure.legend(handles, labels, loc="outside lower center", ncols=ncols)
    return figure


def _is_known(data: Mapping[str, Array], measure: str) -> bool:
    return bool(np.isfinite(data[f"{measure}_values"]).any())


def _ends(data: Mapping[str, Array], measure: str) -> tuple[float, float]:
    """Decades between which the values and the intervals lie."""
    shown = [data[f"{measure}_values"].ravel(), *data[f"{measure}_mean"]]
    every = np.log10(np.concatenate([one.ravel() for one in shown]))
    return float(np.nanmin(every)), float(np.nanmax(every))


def _paint_norm(
    axes: Axes, data: Mapping[str, Array], measure: str, palette: Palette
) -> None:
    places = data["axis_places"]
    mean, share = data[f"{measure}_mean"][0], data[f"{measure}_share"]
    lines = []
    for place, colour in zip(range(len(data["losses"])), palette.lines, strict=False):
        x = shift_places(places, place - (len(data["losses"]) - 1) / 2)
        values = data[f"{measure}_values"][place]
        axes.plot(x, values, ".", color=colour, markersize=2.5, alpha=0.6)
        draw_error_bars(
            axes,
            x,
            np.stack([*data[f"{measure}_mean"][:, place], share[place]], axis=-1),
            colour=colour,
            palette=palette,
            label=str(place),
            joined=False,
        )
        exponent, *interval, intercept = data[f"{measure}_fits"][place]
        if np.isfinite(exponent):
            fitted = np.exp(intercept - exponent * np.log(data["axis"]))
            use = np.isfinite(mean[place])
            axes.plot(x[use], fitted[use], color=colour, linewidth=0.9)
            lines.append((colour, _say_exponent(exponent, *interval)))
    tick_axis(axes, data)
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
