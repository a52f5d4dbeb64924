"""Findings about the course of training: learners, minima, collapse, examples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from birthmark.analysis.columns import Column
from birthmark.analysis.regimes import LEARNERS
from birthmark.analysis.thresholds import Thresholds
from birthmark.analysis.words import (
    say_estimate,
    say_interval,
    say_list,
    say_number,
)
from birthmark.shapes import Array, Finding
from birthmark.statistics import summarize

PAPER = "Jesus et al., arXiv 2012.02550"


def find_unfinished(columns: list[Column], lines: Thresholds) -> Finding | None:
    """Which runs have not yet reached the last epoch of their spec."""
    parts = [
        f"{column.width} (epoch {found.last_epoch} of {run.spec.training.epochs})"
        for column in columns
        for run, found in zip(column.runs, column.transitions, strict=True)
        if found.last_epoch < run.spec.training.epochs
    ]
    if not parts:
        return None
    return Finding(
        what=f"Not finished, by width: {'; '.join(parts)}.",
        why="What is said about the end of these runs is about their end so far.",
        how="last recorded epoch against the epochs of the spec",
        level="warning",
        values={"unfinished": len(parts)},
    )


def find_learners(columns: list[Column], lines: Thresholds) -> Finding:
    """Which widths are strong, weak, unstable."""
    groups: dict[str, list[str]] = {}
    values: dict[str, float] = {}
    for column in columns:
        counts = {name: int((column.learners == name).sum()) for name in LEARNERS}
        for name, count in counts.items():
            values[f"{name}_{column.width}"] = count / column.num_replicas
        name = column.majority
        inside = (
            f"{counts[name]} of {column.num_replicas}"
            if name
            else ", ".join(f"{n} {one}" for one, n in counts.items() if n)
        )
        groups.setdefault(name, []).append(f"{column.width} ({inside})")
    parts = [
        f"{name or 'without a majority'} at width {say_list(groups[name])}"
        for name in (*LEARNERS, "")
        if name in groups
    ]
    unstable = any("unstable" in column.learners for column in columns)
    strong = np.concatenate([column.learners for column in columns]) == "strong"
    came_back = int((strong & np.isfinite(_all(columns, "loss_jump_epoch"))).sum())
    chance = columns[0].transitions[0].chance_loss
    return Finding(
        what=f"By majority of replicas: {'; '.join(parts)}.",
        why="Training may succeed, fail to learn, or lose what it had learned: which "
        "of these may depend on width.",
        how=f"strong: final train loss at most {lines.strong * chance:.3g} "
        f"({came_back} of these came back from a jump); unstable: "
        f"{lines.reached * chance:.3g} was reached and lost by a jump, divergence, or "
        "NaN; weak: never reached; undecided: none of these "
        f"({lines.strong:g} and {lines.reached:g} of the loss of chance, {chance:.3g})",
        source=f"{PAPER}, Figure 2",
        level="warning" if unstable else "good",
        values=values,
    )


def find_minima(columns: list[Column], lines: Thresholds) -> Finding | None:
    """Where the minima of test and train loss lie."""
    test = _all(columns, "min_test_epoch")
    train = _all(columns, "min_train_epoch")
    falls = _all(columns, "train_still_falling").astype(bool)
    known = np.isfinite(test) & (np.isfinite(train) | falls)
    if not known.any():
        return None
    before = known & (falls | (test < train))
    n, k = int(known.sum()), int(before.sum())
    share = stats.binomtest(k, n).proportion_ci()
    per_width = [
        f"{column.width}: {say_number(float(np.median(seen)))}"
        for column in columns
        if len(seen := _seen(column.joined("min_test_epoch")))
    ]
    return Finding(
        what=f"The test loss has its minimum before the train loss in {k} of {n} "
        f"replicas ({say_interval(share.low, share.high)} as a share); median epoch of "
        f"the minimum test loss by width: {', '.join(per_width)}; in {int(falls.sum())}"
        f" of {len(falls)} replicas the train loss was still falling at the end.",
        why="Between the two minima lies overfitting; after the minimum of the train "
        "loss training makes even that worse.",
        how=f"epochs of the lowest loss; a minimum in the last "
        f"{lines.still_falling:.0%} of the epochs counts as still falling; "
        "Clopper-Pearson interval",
        source=f"{PAPER}, Figure 2c",
        values={"share_test_first": k / n, "n": n},
    )


def find_coincidence(columns: list[Column], lines: Thresholds) -> Finding:
    """Whether loss and deviation jump together, and which comes first."""
    loss = _all(columns, "loss_jump_epoch")
    deviation = _all(columns, "deviation_jump_epoch")
    lag = np.concatenate([one.lag for column in columns for one in column.transitions])
    both = np.isfinite(lag)
    window = max(one.window for column in columns for one in column.transitions)
    together = int((np.abs(lag[both]) <= window).sum())
    counts = (np.isfinite(loss).sum(), np.isfinite(deviation).sum(), both.sum())
    layer = columns[0].layer
    what = (
        f"The train loss jumps in {counts[0]} of {len(loss)} replicas, the deviation "
        f"of {layer} in {counts[1]}, both in {counts[2]}"
    )
    if both.any():
        what += f", there within {window} epochs of each other in {together}; "
        what += _say_lag(columns, lag)
    estimate = summarize(lag)
    return Finding(
        what=what + ".",
        why="A deviation that jumps with the train loss announces the failure of "
        "training without a look at the data.",
        how="change points (PELT) of ln L and ln D, counted above "
        f"{lines.loss_jump:g} and {lines.deviation_jump:g} beyond the trend within "
        f"{window} epochs; lag: the largest of ln D a replica against the nearest of "
        "ln L; an order is told where bootstrap and Student's interval agree",
        source=f"{PAPER}, Figure 5",
        level="warning" if counts[0] else "info",
        values={
            "loss_jumps": float(counts[0]),
            "deviation_jumps": float(counts[1]),
            "both": float(counts[2]),
            "together": float(together),
            "lag": estimate.mean,
            "lag_low": estimate.low,
            "lag_high": estimate.high,
        },
    )


def find_collapse(columns: list[Column], lines: Thresholds) -> Finding:
    """How many replicas diverge, and when."""
    total = sum(column.num_replicas for column in columns)
    nonfinite = int(np.isfinite(_all(columns, "nonfinite_epoch")).sum())
    parts = []
    for column in columns:
        estimate = summarize(column.joined("divergence_epoch"))
        if estimate.n:
            parts.append(f"at width {column.width} at epoch {say_estimate(estimate)}")
    diverged = int(np.isfinite(_all(columns, "divergence_epoch")).sum())
    where = f": {say_list(parts)}" if parts else ""
    level = columns[0].transitions[0].divergence_level
    frozen = f"; NaN or Inf froze {nonfinite}" if nonfinite else "; none met NaN or Inf"
    return Finding(
        what=f"{diverged} of {total} replicas diverge{where}{frozen}.",
        why="A diverged network answers with one class, and under the clipped loss it "
        "has no gradient left to come back.",
        how=f"first epoch with a train loss of {level:.3g} or more: "
        f"{_divergence_rule(columns[0], lines)}",
        source=f"{PAPER}, Figures 1 and 2c",
        level="warning" if diverged or nonfinite else "good",
        values={"diverged": diverged, "nonfinite": nonfinite, "n": total},
    )


def find_examples(columns: list[Column], lines: Thresholds) -> Finding | None:
    """How many training examples give no gradient at the end, and of which kind."""
    if columns[0].runs[0].spec.training.loss != "clipped_cross_entropy":
        return None
    abandoned = np.concatenate([column.final("abandoned") for column in columns])
    saturated = np.concatenate([column.final("saturated") for column in columns])
    diverged = np.isfinite(_all(columns, "divergence_epoch"))
    strong = np.concatenate([column.learners for column in columns]) == "strong"
    parts, values = [], {}
    for name, group in (("diverged", diverged), ("strong", strong)):
        a, s = _seen(abandoned[group]), _seen(saturated[group])
        if len(a) and len(s):
            parts.append(
                f"{np.median(a):.0f} abandoned and {np.median(s):.0f} saturated in the "
                f"{len(a)} {name} replicas"
            )
            values[f"abandoned_{name}"] = float(np.median(a))
            values[f"saturated_{name}"] = float(np.median(s))
    if not parts:
        return None
    number = columns[0].runs[0].records.attrs.get("data.num_train")
    of = f" of {number}" if number is not None else ""
    return Finding(
        what=f"Training examples{of} without a gradient in the last epoch (median "
        f"over replicas): {'; '.join(parts)}.",
        why="An abandoned example is wrong and gives no gradient to mend it; a "
        "saturated one gives none because it is right: the two are counted apart.",
        how="probability of the true class below eps, or above 1 - eps, as visited",
        values=values,
    )


TRAINING_FINDINGS: tuple[Callable[[list[Column], Thresholds], Finding | None], ...] = (
    find_unfinished,
    find_learners,
    find_collapse,
    find_coincidence,
    find_minima,
    find_examples,
)


def _say_lag(columns: list[Column], lag: Array) -> str:
    estimate = summarize(lag)
    gap = max(
        (
            jumps[0].gap
            for column in columns
            for one in column.transitions
            for jumps in one.deviation_jumps
            if jumps
        ),
        default=1.0,
    )
    said = (
        f"mean lag of the deviation {say_number(estimate.mean)} epochs, "
        f"{say_interval(estimate.low, estimate.high)}, n = {estimate.n}"
    )
    if estimate.sign > 0 and estimate.mean > gap:
        return f"the deviation jumps after the loss ({said})"
    if estimate.sign < 0 and estimate.mean < -gap:
        return f"the deviation jumps before the loss ({said})"
    return f"no lag between them is established ({said})"


def _divergence_rule(column: Column, lines: Thresholds) -> str:
    if column.runs[0].spec.training.loss == "clipped_cross_entropy":
        return f"{lines.divergence:g} of the plateau of the clipped loss"
    return "the loss of chance, after the minimum"


def _all(columns: list[Column], name: str) -> Array:
    return np.concatenate([column.joined(name) for column in columns])


def _seen(values: Array) -> Array:
    return values[np.isfinite(values)]
