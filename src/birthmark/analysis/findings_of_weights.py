"""Findings about the weights: the mark, the deviation, what is left of the start."""

from __future__ import annotations

import numpy as np

from birthmark.analysis.columns import Column
from birthmark.analysis.kept_marks import TWINS, read_at_end
from birthmark.analysis.layers import name_layer
from birthmark.analysis.scaling import (
    DeviationAtLoss,
    Measure,
    choose_loss,
    deviation_at_loss,
)
from birthmark.analysis.surveys import Family
from birthmark.analysis.trends import find_detector, read_as_an_eye, read_retention
from birthmark.analysis.words import (
    REDRAW,
    say_estimate,
    say_interval,
    say_number,
    say_share,
)
from birthmark.shapes import Array, Finding
from birthmark.statistics import PowerLaw, spearman, summarize

PAPER = "Jesus et al., arXiv 2012.02550"
READABLE = 0.75  # retention above which a mark counts as readable
FEWEST_FOR_RANKS = 6  # collapsed replicas for a rank correlation


def find_retention(family: Family) -> Finding | None:
    """How readable the mark is at the end, along the axis."""
    parts, values = [], {}
    pooled = read_as_an_eye(family.all_columns)
    columns = pooled or family.all_columns
    for column in columns:
        estimate = summarize(read_retention(column))
        if estimate.n:
            at = family.say(column.runs[0])
            parts.append(f"{at}: {say_estimate(estimate)}")
            values[at] = estimate.mean
    if not parts:
        return None
    kept_R = np.concatenate([read_retention(one) for one in columns])
    read_R = np.concatenate([read_at_end(family, one)[0] for one in columns])
    is_told = bool(np.isfinite(read_R).any())
    flags = read_R[np.isfinite(read_R)] if is_told else kept_R[np.isfinite(kept_R)]
    readable = int((flags >= (1 if is_told else READABLE)).sum())
    marked = np.concatenate([_is_marked(one) for one in family.all_columns])
    noun = "networks"
    if is_told and len(flags) < marked.sum():
        noun += " whose weights were kept"
    count = say_share(readable, len(flags), int(marked.sum()), noun)
    return Finding(
        what=f"The mark can still be read at the end in {count}."
        if pooled
        else f"Weight by weight the mark can be read at the end in {count}; an eye, "
        "which pools, may see more.",
        why="The mark is a piece of the random start that the eye can follow: a "
        "retention of 1 is perfect, 0.5 is gone.",
        how="retention: ROC-AUC of the sizes of the weights as detector of the mark, "
        "pooled as an eye does (rows and columns scaled alike, blurred), or weight by "
        "weight where only that was recorded and for marks that shift; "
        f"{_say_readable(is_told=is_told)}; means over replicas",
        source=f"{PAPER}, Figure 1",
        values=values | {"readable": readable, "n": len(flags)},
        name="retention",
        details=f"Mean retention: {'; '.join(parts)}.",
        figure="figure1-mark",
    )


def _say_readable(*, is_told: bool) -> str:
    if not is_told:
        return f"readable: retention of at least {READABLE}"
    return (
        "readable: its mask scores best of all letters, and higher than all "
        f"{TWINS} twins without a mark, the same weights with rows and columns in "
        "another order"
    )


def find_kept_marks(family: Family) -> Finding | None:
    """What a collapse does to the mark: within each network, and by its time."""
    pooled = read_as_an_eye(family.all_columns)
    columns = pooled or family.all_columns
    kept_R = np.concatenate([read_retention(column) for column in columns])
    collapse = np.concatenate([_collapse(column) for column in columns])
    before_R = np.concatenate([_retention_before(column) for column in columns])
    marked_R = np.concatenate([_is_marked(column) for column in family.all_columns])
    fell_R = np.concatenate([_collapse(column) for column in family.all_columns])
    num_collapsed = int((marked_R & np.isfinite(fell_R)).sum())
    use = np.isfinite(kept_R) & np.isfinite(collapse)
    if not use.any():
        return None
    told = [read_at_end(family, column) for column in columns]
    read_R, epoch_R = (np.concatenate(one) for one in zip(*told, strict=True))
    after = use & np.isfinite(read_R) & (epoch_R >= collapse)
    is_told = bool(after.any())
    use = after if is_told else use
    flags = read_R == 1 if is_told else kept_R >= READABLE
    kept = int(flags[use].sum())
    change = summarize((kept_R - before_R)[use])
    values = {"kept": float(kept), "collapsed": float(use.sum())}
    details = (
        f"Retention {_say_range(kept_R[use])}, collapse at epochs "
        f"{_say_range(collapse[use])}. "
    )
    if change.n:
        details += (
            "From the last record before its collapse to its end the retention of a "
            f"network changes by {say_estimate(change)}. "
        )
        values |= {"change": change.mean, "change_n": change.n}
    if use.sum() >= FEWEST_FOR_RANKS and min(map(np.ptp, (kept_R[use], collapse[use]))):
        rho, p = spearman(collapse[use], kept_R[use])
        values |= {"rho": rho, "p": p}
        trend = "falls" if rho < 0 else "rises"
        said = f"(rank correlation {rho:.2f}, p = {p:.2g})"
        details += (
            f"Retention {trend} with the time of collapse {said}."
            if p < 0.05
            else f"No dependence on the time of collapse is established {said}."
        )
    share = say_share(kept, int(use.sum()), num_collapsed, "collapsed networks")
    what = f"{share} keep a readable mark"
    if not pooled:
        what += ", weight by weight"
    return Finding(
        what=f"{what}.",
        why="An abandoned network has no gradient and moves no more: it may keep the "
        "mark that it had at its collapse. Whether a mark survives is a statement "
        "about the time before.",
        how=f"{_say_readable(is_told=is_told)}; collapse: divergence, NaN or Inf; "
        "replicas of all runs together",
        values=values,
        name="kept_marks",
        details=details.strip(),
        figure="figure1-mark",
    )


def find_scaling(family: Family) -> Finding | None:
    """How the deviation depends on the axis at equal train loss."""
    if not family.is_along:
        return None
    study, noun = family.study, family.axis.noun
    loss = choose_loss(study, family.columns[0].transitions[0].chance_loss)
    if loss is None:
        return None
    known = deviation_at_loss(study, [loss])
    reached = ", ".join(
        f"{family.axis.text(value)}: {k} of {r}"
        for value, k, r in zip(
            known.along, known.reached[0], known.replicas, strict=True
        )
    )
    said = _say_laws(family, loss) or _say_levels(family, known)
    if said is None:
        return None
    what, details, values = said
    return Finding(
        what=f"At an equal train loss of {say_number(loss)} {what}.",
        why="Less deviation a weight may still be the same change of the layer as a "
        "whole: the spectral norm tells that apart.",
        how="deviation at the first crossing of the running median of the train loss; "
        "the lowest of the levels that the most values reach with two replicas; "
        f"power laws by least squares of ln D on ln {noun}, Student's interval of the "
        f"slope; replicas that reached the loss, along {noun}: {reached}",
        source=f"{PAPER}, Figure 6",
        values={"loss": loss} | values,
        name="scaling",
        details=f"{details}.",
        figure="figure6-scaling",
    )


Said = tuple[str, str, dict[str, float]]  # what, details, values


def _say_laws(family: Family, loss: float) -> Said | None:
    """Powers of the axis, of three measures; None where none can be fitted."""
    noun = family.axis.noun
    measures: tuple[tuple[Measure, str], ...] = (
        ("deviation_std", "its standard deviation"),
        ("relative_distance", "the relative distance"),
        ("spectral_distance", "the spectral norm"),
    )
    said: list[str] = []
    values: dict[str, float] = {}
    first = None
    for measure, words in measures:
        fit = deviation_at_loss(family.study, [loss], measure=measure).fits[0]
        if fit is not None:
            said.append(f"{words} {_say_power(fit, noun)}")
            first = first or fit
            values |= {
                f"{measure}_exponent": fit.exponent,
                f"{measure}_low": fit.low,
                f"{measure}_high": fit.high,
                f"{measure}_n": fit.n,
            }
    if first is None:
        return None
    layer = family.layer
    what = f"the deviation of {layer} depends on {noun} in no way that is established"
    if first.low > 0 or first.high < 0:
        power = say_number(-first.exponent, 2)
        what = f"the deviation of {layer} goes as {noun} to the power {power}"
    return what, f"Of the deviation of {layer} {'; '.join(said)}", values


def _say_levels(family: Family, known: DeviationAtLoss) -> Said | None:
    """The least and the largest deviation, along words."""
    logs = [np.log(row[np.isfinite(row) & (row > 0)]) for row in known.values[0]]
    means = {
        value: float(np.exp(one.mean()))
        for value, one in zip(known.along, logs, strict=True)
        if len(one) > 1
    }
    if len(means) < 2:
        return None
    least, most = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    factor = means[most] / means[least]
    axis = family.axis
    what = (
        f"{axis.say(most)} has deviated {say_number(factor, 2)} times as much as "
        f"{axis.text(least)}"
    )
    listed = "; ".join(f"{axis.text(v)}: {say_number(d)}" for v, d in means.items())
    details = (
        f"Geometric mean over replicas of the standard deviation of {known.layer}: "
        f"{listed}; not tested for differences, which `birthmark compare` does in pairs"
    )
    return what, details, {"factor": factor}


def find_leading(family: Family) -> Column:
    """The networks to speak of: at the last value with strong ones, or the best."""
    columns = family.all_columns
    strong = [one for one in columns if "strong" in one.learners]
    return strong[-1] if strong else min(columns, key=_mean_loss)


def find_nearness(family: Family) -> Finding | None:
    """How near strong learners stay to their start, at the last value with any.

    Without any: all networks, at the value with the least train loss.
    """
    column = find_leading(family)
    use = np.asarray(column.learners == "strong")
    who = "Strong learners" if use.any() else "Networks"
    if not use.any():
        use = np.ones(column.num_replicas, dtype=bool)
    distance = summarize(column.final("relative_distance", column.layer)[use])
    correlation = summarize(column.final("correlation", column.layer)[use])
    if not distance.n or not correlation.n:
        return None
    if distance.n < use.sum():
        who = f"{distance.n} of {use.sum()} {who.lower()}"
    at = family.say(column.runs[0])
    return Finding(
        what=f"{who} of {at} end with {name_layer(column.layer)} at a relative "
        f"distance of {say_number(distance.mean)} from its start {REDRAW}.",
        why="How much of the start is left in a solution: an independent draw would "
        "stand at a relative distance of 1.41 with correlation 0.",
        how="norm of the deviation over the norm of the initial weights; Pearson",
        source=PAPER,
        level="good" if correlation.low > 0 else "info",
        values={
            "relative_distance": distance.mean,
            "relative_distance_low": distance.low,
            "relative_distance_high": distance.high,
            "correlation": correlation.mean,
            "correlation_low": correlation.low,
            "correlation_high": correlation.high,
            "n": distance.n,
        },
        name="nearness",
        details=f"In {column.layer}: relative distance {say_estimate(distance)}, "
        f"correlation with the start {say_estimate(correlation)}.",
        figure="layers",
    )


def _mean_loss(column: Column) -> float:
    return float(np.nan_to_num(column.joined("min_train_loss").mean(), nan=np.inf))


def _collapse(column: Column) -> Array:
    return np.fmin(column.joined("divergence_epoch"), column.joined("nonfinite_epoch"))


def _is_marked(column: Column) -> Array:
    """Which of the replicas began with a mark, [R] bool."""
    marked = [run.spec.mark is not None for run in column.runs]
    return np.repeat(marked, [run.num_replicas for run in column.runs])


def _retention_before(column: Column) -> Array:
    """The retention at the last record before the collapse, [R]; NaN without one."""
    found = []
    for run, transitions in zip(column.runs, column.transitions, strict=True):
        when_R = np.fmin(transitions.divergence_epoch, transitions.nonfinite_epoch)
        mark = run.spec.mark
        if mark is None:
            found.append(np.full(len(when_R), np.nan))
            continue
        kept_TR = run.values(find_detector(column.runs, mark.layer), mark.layer)
        known_TR = np.isfinite(kept_TR) & (run.epochs[:, None] < when_R)
        last_R = len(kept_TR) - 1 - known_TR[::-1].argmax(axis=0)
        values_R = kept_TR[last_R, np.arange(len(when_R))]
        found.append(np.where(known_TR.any(axis=0), values_R, np.nan))
    return np.concatenate(found)


def _say_range(values: Array) -> str:
    return f"{say_number(values.min())} to {say_number(values.max())}"


def _say_power(fit: PowerLaw, noun: str) -> str:
    span = say_interval(min(-fit.low, -fit.high), max(-fit.low, -fit.high))
    power = f"exponent {say_number(-fit.exponent)}, {span}"
    if np.isnan(fit.low):
        return f"goes with {noun} to a power that is not established ({power})"
    if fit.low > 0:
        return f"falls with {noun} ({power})"
    if fit.high < 0:
        return f"rises with {noun} ({power})"
    return f"shows no clear dependence on {noun} ({power})"
