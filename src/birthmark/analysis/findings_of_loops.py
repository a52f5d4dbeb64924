"""Findings about runs in users' own loops: lost ones, how far layers moved, losses."""

from __future__ import annotations

import numpy as np

from birthmark.analysis.endings import lost_since
from birthmark.analysis.layers import final_distances
from birthmark.analysis.studies import Run
from birthmark.analysis.surveys import Family
from birthmark.analysis.trends import (
    Trend,
    find_metrics,
    find_quantities,
    find_trend,
)
from birthmark.analysis.words import say_interval, say_number
from birthmark.shapes import Array, Finding
from birthmark.statistics import compare_means

_NAMED = 3  # runs in a sentence
_TOLD_FIRST = ("test", "val", "eval")  # in names of losses


def find_lost(family: Family) -> Finding | None:
    """Networks whose loss became NaN or Inf, and when."""
    since = [(run, _lost_epochs(run)) for run in family.runs]
    total = sum(run.num_replicas for run in family.runs)
    count = sum(int(np.isfinite(one).sum()) for _, one in since)
    if not count:
        return None
    places = [
        f"{family.say(run)}, from {run.clock} {np.nanmin(one):.0f} on"
        for run, one in since
        if np.isfinite(one).any()
    ]
    more = len(places) - _NAMED
    listed = "; ".join(places[:_NAMED]) + (f"; and {more} more" if more > 0 else "")
    return Finding(
        what=f"The loss of {count} of {total} networks becomes NaN or Inf: {listed}.",
        why="From there on nothing is learned, and what is told of the ends of others "
        "is not told of these.",
        how="a loss without a number from there to the last record, for longer than "
        "ever between two numbers",
        level="warning",
        values={"lost": count, "n": total},
        name="lost",
        details=f"{'; '.join(places)}.",
    )


def _lost_epochs(run: Run) -> Array:
    """When the first of its losses was lost, [R]; NaN where none was."""
    curves = [run.values(one.name) for one in find_metrics([run]) if "loss" in one.name]
    lost = [lost_since(run.epochs, curve_TR) for curve_TR in curves]
    nothing = np.full(run.num_replicas, np.nan)
    return np.asarray(np.fmin.reduce([nothing, *lost]))


def find_farthest(family: Family) -> Finding | None:
    """The layers that moved the most and the least, at the last value of the axis."""
    last = family.study.at(family.study.values[-1])
    layers = sorted(final_distances(last), key=lambda pair: pair[1])
    if not layers:
        return None
    (least, low), (most, high) = layers[0], layers[-1]
    at = f"At {family.say(last[0])}: layer" if family.is_along else "Layer"
    what = f"{at} {most} has moved the farthest from its start, "
    what += f"{say_number(high, 2)} times its initial norm"
    if len(layers) > 1:
        what += f"; layer {least} the least, {say_number(low, 2)}"
    return Finding(
        what=f"{what}.",
        why="At 1.41 a layer is as far as an independent second draw of its start, "
        "which then shows no longer.",
        how=f"relative distance at the last record of {family.say(last[0])}; mean "
        f"over replicas, n = {sum(run.num_replicas for run in last)}",
        values=dict(layers),
        name="farthest",
        where=(most,),
        figure="layers",
    )


def find_least_loss(family: Family) -> Finding | None:
    """Where along the axis the loss ends lowest, and whether the next is any worse."""
    losses = [
        one
        for one in find_quantities(family.runs, judged=False)
        if "loss" in one.name and one.scale == "log"
    ]
    if not losses or not family.is_along:
        return None
    losses.sort(key=lambda one: not one.name.startswith(_TOLD_FIRST))
    loss, columns = losses[0], family.all_columns
    trend = find_trend(columns, loss)
    places = [family.say(column.runs[0]) for column in columns]
    order = [int(i) for i in np.argsort(trend.mean) if trend.n[i]]
    if not order:
        return None
    missing = sum(len(one) for one in trend.replicas) - int(trend.n.sum())
    others = f" ({missing} networks have none at the end)" if missing else ""
    if missing == 1:
        others = " (1 network has none at the end)"
    means = [f"{place}: {_say_mean(trend, i)}" for i, place in enumerate(places)]
    return Finding(
        what=f"The {loss.label} is least at {places[order[0]]}: "
        f"{say_number(float(trend.mean[order[0]]))}{others}.",
        why="How far training travels says the most beside how well it went.",
        how="geometric means over replicas with Student's intervals; the difference of "
        "logarithms by Welch's interval and the bootstrap",
        values={place: float(trend.mean[i]) for i, place in enumerate(places)},
        name="least_loss",
        details=f"{_compare(trend, places, order)}Means: {'; '.join(means)}.",
        figure="trends",
    )


def _say_mean(trend: Trend, i: int) -> str:
    span = say_interval(float(trend.low[i]), float(trend.high[i]))
    return f"{say_number(float(trend.mean[i]))} ({span}, n = {trend.n[i]})"


def _compare(trend: Trend, places: list[str], order: list[int]) -> str:
    """The least beside the next: higher, or no difference that is established."""
    if len(order) < 2:
        return ""
    best, beside = (np.log(trend.replicas[i][trend.replicas[i] > 0]) for i in order[:2])
    found = compare_means(beside, best)
    if found.sign == 1:
        return f"At {places[order[1]]}, the next, it is higher (p = {found.p:.2g}). "
    return f"No difference to {places[order[1]]}, the next, is established. "
