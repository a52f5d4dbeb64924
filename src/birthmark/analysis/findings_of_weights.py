"""Findings about the weights: the mark, the deviation, what is left of the start."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from birthmark.analysis.columns import Column
from birthmark.analysis.scaling import (
    Measure,
    PowerLaw,
    choose_loss,
    deviation_at_loss,
)
from birthmark.analysis.studies import Study
from birthmark.analysis.thresholds import Thresholds
from birthmark.analysis.words import (
    say_estimate,
    say_interval,
    say_list,
    say_number,
)
from birthmark.shapes import Array, Finding
from birthmark.statistics import Comparison, compare_means, summarize

PAPER = "Jesus et al., arXiv 2012.02550"
READABLE = 0.75  # retention above which a mark counts as readable
FEWEST_FOR_RANKS = 6  # collapsed replicas for a rank correlation


def find_retention(columns: list[Column], lines: Thresholds) -> Finding | None:
    """How readable the mark is at the end, by width."""
    parts, values = [], {}
    for column in columns:
        estimate = summarize(_retention(column))
        if estimate.n:
            parts.append(f"{say_estimate(estimate)} at width {column.width}")
            values[f"retention_{column.width}"] = estimate.mean
    if not parts:
        return None
    return Finding(
        what=f"Retention of the mark at the end: {say_list(parts)}.",
        why="The mark is a piece of the random start that the eye can follow: 1 is "
        "perfect, 0.5 is gone.",
        how="ROC-AUC of the weights as detector of the mark; mean over replicas",
        source=f"{PAPER}, Figure 1",
        values=values,
    )


def find_retention_gap(columns: list[Column], lines: Thresholds) -> Finding | None:
    """The widest strong width against the middle one of the unstable widths."""
    marked = [one for one in columns if np.isfinite(_retention(one)).any()]
    strong = [one for one in marked if one.majority == "strong"]
    unstable = [one for one in marked if one.majority == "unstable"]
    if not strong or not unstable:
        return None
    wide, middle = strong[-1], unstable[len(unstable) // 2]
    result = compare_means(_retention(wide), _retention(middle))
    verb = {1: "exceeds", -1: "lies below", 0: "does not clearly differ from"}
    return Finding(
        what=f"The mean retention of the mark at the strong width {wide.width} "
        f"{verb[result.sign]} that at the unstable width {middle.width}: difference "
        f"{_say_difference(result)}.",
        why="Does the start survive better where training succeeds?",
        how="difference of means with Welch's interval, checked by the bootstrap; the "
        "widest of the strong and the middle one of the unstable widths",
        source=f"{PAPER}, Figure 1",
        level="good" if result.sign > 0 else "info",
        values={
            "difference": result.difference,
            "low": result.low,
            "high": result.high,
            "welch_p": result.p,
            "strong_width": wide.width,
            "strong_mean": summarize(_retention(wide)).mean,
            "strong_n": result.n_a,
            "unstable_width": middle.width,
            "unstable_mean": summarize(_retention(middle)).mean,
            "unstable_n": result.n_b,
        },
    )


def find_kept_marks(columns: list[Column], lines: Thresholds) -> Finding | None:
    """Whether collapsed replicas keep their mark, against the time of collapse."""
    kept_R = np.concatenate([_retention(column) for column in columns])
    collapse = np.concatenate(
        [
            np.fmin(column.joined("divergence_epoch"), column.joined("nonfinite_epoch"))
            for column in columns
        ]
    )
    use = np.isfinite(kept_R) & np.isfinite(collapse)
    if not use.any():
        return None
    kept = int((kept_R[use] >= READABLE).sum())
    what = (
        f"{kept} of {int(use.sum())} collapsed replicas keep a readable mark "
        f"(retention {_say_range(kept_R[use])}, collapse at epochs "
        f"{_say_range(collapse[use])})"
    )
    values = {"kept": float(kept), "collapsed": float(use.sum())}
    if use.sum() >= FEWEST_FOR_RANKS and min(map(np.ptp, (kept_R[use], collapse[use]))):
        rank = stats.spearmanr(collapse[use], kept_R[use])
        rho, p = float(rank.statistic), float(rank.pvalue)
        values |= {"rho": rho, "p": p}
        trend = "falls" if rho < 0 else "rises"
        said = f"(rank correlation {rho:.2f}, p = {p:.2g})"
        what += (
            f"; retention {trend} with the time of collapse {said}"
            if p < 0.05
            else f"; no dependence on the time of collapse is established {said}"
        )
    return Finding(
        what=what + ".",
        why="An abandoned network has no gradient and moves no more: it may keep the "
        "mark that it had at its collapse. That the mark survives where training "
        "succeeds is a statement about the time before.",
        how=f"readable: retention of at least {READABLE}; replicas of all widths",
        values=values,
    )


def find_scaling(columns: list[Column], lines: Thresholds) -> Finding | None:
    """How the deviation depends on width at equal train loss."""
    study = Study(tuple(run for column in columns for run in column.runs))
    loss = choose_loss(study, columns[0].transitions[0].chance_loss)
    if loss is None:
        return None
    known = deviation_at_loss(study, [loss])
    measures: tuple[tuple[Measure, str], ...] = (
        ("deviation_std", "its standard deviation"),
        ("relative_distance", "the relative distance"),
        ("spectral_distance", "the spectral norm"),
    )
    said, values = [], {"loss": loss}
    for measure, words in measures:
        fit = deviation_at_loss(study, [loss], measure=measure).fits[0]
        if fit is not None:
            said.append(f"{words} {_say_power(fit)}")
            values |= {
                f"{measure}_exponent": fit.exponent,
                f"{measure}_low": fit.low,
                f"{measure}_high": fit.high,
                f"{measure}_n": fit.n,
            }
    if not said:
        return None
    reached = ", ".join(
        f"{n}: {k} of {r}"
        for n, k, r in zip(known.widths, known.reached[0], known.replicas, strict=True)
    )
    return Finding(
        what=f"At an equal train loss of {say_number(loss)}, of the deviation of "
        f"{columns[0].layer} {'; '.join(said)}.",
        why="Less deviation a weight may still be the same change of the layer as a "
        "whole: the spectral norm tells that apart.",
        how="deviation at the first crossing of the running median of the train loss; "
        "the lowest of the levels that the most widths reach with two replicas; "
        "least squares of ln D on ln width, bootstrap over replicas within widths; "
        f"replicas that reached the loss, by width: {reached}",
        source=f"{PAPER}, Figure 6",
        values=values,
    )


def find_nearness(columns: list[Column], lines: Thresholds) -> Finding | None:
    """How near strong learners stay to their start, at the widest that has any."""
    with_strong = [column for column in columns if "strong" in column.learners]
    if not with_strong:
        return None
    column = with_strong[-1]
    strong = column.learners == "strong"
    distance = summarize(column.final("relative_distance", column.layer)[strong])
    correlation = summarize(column.final("correlation", column.layer)[strong])
    if not distance.n or not correlation.n:
        return None
    return Finding(
        what=f"The strong learners of width {column.width} end at a relative distance "
        f"of {say_estimate(distance)} from their start in {column.layer}, correlation "
        f"with it {say_estimate(correlation)}.",
        why="How much of the start is left in a solution: an independent draw would "
        "stand at a relative distance of 1.41 with correlation 0.",
        how="norm of the deviation over the norm of the initial weights; Pearson",
        source=PAPER,
        level="good" if correlation.low > 0 else "info",
        values={
            "width": column.width,
            "relative_distance": distance.mean,
            "relative_distance_low": distance.low,
            "relative_distance_high": distance.high,
            "correlation": correlation.mean,
            "correlation_low": correlation.low,
            "correlation_high": correlation.high,
            "n": distance.n,
        },
    )


WEIGHTS_FINDINGS: tuple[Callable[[list[Column], Thresholds], Finding | None], ...] = (
    find_retention_gap,
    find_retention,
    find_kept_marks,
    find_scaling,
    find_nearness,
)


def _retention(column: Column) -> Array:
    mark = column.runs[0].spec.mark
    if mark is None:
        return np.full(column.num_replicas, np.nan)
    return column.final("mark_auc", mark.layer)


def _say_range(values: Array) -> str:
    return f"{say_number(values.min())} to {say_number(values.max())}"


def _say_power(fit: PowerLaw) -> str:
    span = say_interval(min(-fit.low, -fit.high), max(-fit.low, -fit.high))
    power = f"exponent {say_number(-fit.exponent)}, {span}"
    if np.isnan(fit.low):
        return f"goes with width to a power that is not established ({power})"
    if fit.low > 0:
        return f"falls with width ({power})"
    if fit.high < 0:
        return f"rises with width ({power})"
    return f"shows no clear dependence on width ({power})"


def _say_difference(result: Comparison) -> str:
    return (
        f"{say_number(result.difference)} ({say_interval(result.low, result.high)}; "
        f"bootstrap {say_interval(result.bootstrap_low, result.bootstrap_high)}; "
        f"n = {result.n_a} and {result.n_b})"
    )
