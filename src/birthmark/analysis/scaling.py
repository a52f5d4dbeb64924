"""Deviation at equal loss along an axis, and the exponent of its fall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from birthmark.analysis.axes import Value
from birthmark.analysis.regimes import running_median
from birthmark.analysis.studies import Run, Study
from birthmark.errors import SpecError, unknown_name
from birthmark.shapes import Array
from birthmark.statistics import NAN, PowerLaw, fit_power_law

Measure = Literal["deviation_std", "distance", "spectral_distance", "relative_distance"]
MEASURES = ("deviation_std", "distance", "spectral_distance", "relative_distance")
SMOOTHING = 5  # epochs over which the median of the train loss is taken


@dataclass(frozen=True)
class DeviationAtLoss:
    """How far each replica is when its train loss first passes a level."""

    layer: str
    measure: Measure
    losses: Array  # [J]
    along: tuple[Value, ...]  # [A] of the axis
    epochs: Array  # [J, A, R] of the crossing; NaN: not reached, or padding
    values: Array  # [J, A, R]; NaN as above
    replicas: Array  # [A] replicas at each value, padding left out
    reached: Array  # [J, A] how many of them have a value
    fits: tuple[PowerLaw | None, ...]  # [J]; None unless two numbers above 0 have some


def deviation_at_loss(
    study: Study,
    losses: Sequence[float],
    layer: str | None = None,
    measure: Measure = "deviation_std",
) -> DeviationAtLoss:
    """The deviation at which each replica first reaches each train loss.

    The train loss is a running median over five epochs; the crossing is interpolated
    between epochs, linearly in ln L, and the deviation there between the epochs at
    which it was recorded, linearly in ln D. A replica that never reaches the loss, or
    was below it at the first epoch already, is censored: NaN, and not in the fit, so
    that a fit over values of which few replicas reach the loss speaks of those alone.

    Args:
        study: Runs of one protocol.
        losses: Levels of the train loss.
        layer: The matrix into the last hidden layer of each run unless given.
        measure: What is looked at.

    Raises:
        SpecError: The measure is unknown, or a loss is not above 0.
    """
    if measure not in MEASURES:
        raise unknown_name("measure", measure, MEASURES)
    if not all(loss > 0 for loss in losses):
        raise SpecError(f"losses: must be above 0, got {list(losses)}")
    along = study.axis.values
    columns = [_at_value(study.at(one), losses, layer, measure) for one in along]
    counts = [column.shape[-1] for column in columns]
    epochs, values = np.full(
        (2, len(losses), len(columns), max(counts, default=0)), NAN
    )
    for place, column in enumerate(columns):
        epochs[:, place, : counts[place]], values[:, place, : counts[place]] = column
    laws = study.axis.is_number and all(float(one) > 0 for one in along)
    fits = [
        fit_power_law(dict(zip(map(float, along), values_AR, strict=True)))
        if laws
        else None
        for values_AR in values
    ]
    return DeviationAtLoss(
        layer=layer or (study.runs[0].layer if study.runs else ""),
        measure=measure,
        losses=np.asarray(losses, dtype=float),
        along=along,
        epochs=epochs,
        values=values,
        replicas=np.array(counts, dtype=int),
        reached=np.isfinite(values).sum(axis=-1),
        fits=tuple(fits),
    )


def choose_losses(study: Study, chance: float) -> list[float]:
    """Levels of the train loss that at least two replicas at two values reach.

    Out of 1/2, 1/5, 1/10, ... 1/100 of the loss of chance, falling.
    """
    levels = [share * chance for share in (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)]
    reached = deviation_at_loss(study, levels).reached
    enough = (reached >= 2).sum(axis=1) >= 2
    return [level for level, use in zip(levels, enough, strict=True) if use]


def choose_loss(study: Study, chance: float) -> float | None:
    """The level for one comparison along the axis: reached at the most values, lowest.

    None where no level is reached by two replicas at two values.
    """
    losses = choose_losses(study, chance)
    if not losses:
        return None
    reached = (deviation_at_loss(study, losses).reached >= 2).sum(axis=1)
    return losses[int(np.flatnonzero(reached == reached.max())[-1])]


def _at_value(
    runs: list[Run], losses: Sequence[float], layer: str | None, measure: Measure
) -> Array:
    """Epoch and value at each loss, over all replicas at one value: [2, J, R]."""
    columns = []
    for run in runs:
        epochs, smooth_TR = run.epochs, _smooth_loss(run)
        at, value_TR = _recorded(run, measure, layer or run.layer)
        for smooth, value in zip(smooth_TR.T, value_TR.T, strict=True):
            crossings = [_crossing(epochs, smooth, loss) for loss in losses]
            columns.append([crossings, [_value_at(at, value, e) for e in crossings]])
    return np.moveaxis(np.array(columns, dtype=float), 0, -1)


def _smooth_loss(run: Run) -> Array:
    return run.remember(
        "smooth loss", lambda: running_median(run.values("train_loss"), SMOOTHING)
    )


def _recorded(run: Run, measure: Measure, layer: str) -> tuple[Array, Array]:
    """Epochs and values [T, R]; spectra lie on epochs of their own."""
    if measure in run.arrays and "distribution_step" in run.arrays[measure].dims:
        chosen = run.arrays[measure].sel(layer=layer)
        values = chosen.transpose("distribution_step", "replica").to_numpy()
        return run.arrays["distribution_epoch"].to_numpy().astype(float), values
    return run.epochs, run.values(measure, layer)


def _crossing(epochs: Array, smooth: Array, loss: float) -> float:
    """The epoch at which a curve first falls to a level; NaN if it does not."""
    known = np.isfinite(smooth)
    epochs, logs = epochs[known], np.log(np.maximum(smooth[known], 1e-300))
    level = np.log(loss)
    below = np.flatnonzero(logs <= level)
    if not len(below) or below[0] == 0:
        return NAN
    i = int(below[0])
    share = (logs[i - 1] - level) / (logs[i - 1] - logs[i])
    return float(epochs[i - 1] + share * (epochs[i] - epochs[i - 1]))


def _value_at(epochs: Array, values: Array, epoch: float) -> float:
    known = np.isfinite(values) & (values > 0)
    if not np.isfinite(epoch) or not known.any():
        return NAN
    at, logs = epochs[known], np.log(values[known])
    return float(np.exp(np.interp(epoch, at, logs, left=NAN, right=NAN)))
