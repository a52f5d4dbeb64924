"""Findings about the course of training: learners, minima, collapse, examples."""

from __future__ import annotations

from collections import Counter

import numpy as np

from birthmark.analysis.columns import Column
from birthmark.analysis.regimes import LEARNERS
from birthmark.analysis.surveys import Family
from birthmark.analysis.words import say_estimate, say_interval, say_number, say_share
from birthmark.shapes import Array, Finding
from birthmark.statistics import share_interval, summarize

PAPER = "Jesus et al., arXiv 2012.02550"


def find_unfinished(family: Family) -> Finding | None:
    """Which runs have not yet reached the last epoch of their spec."""
    behind = [
        (run, int(run.epochs[-1]))
        for run in family.runs
        if run.epochs[-1] < run.spec.training.epochs
    ]
    if not behind:
        return None
    parts = [
        f"{family.say(run)} (epoch {epoch} of {run.spec.training.epochs})"
        for run, epoch in behind
    ]
    return Finding(
        what=f"{len(behind)} of {len(family.runs)} runs are not finished.",
        why="What is said about the end of these runs is about their end so far.",
        how="last recorded epoch against the epochs of the spec",
        level="warning",
        values={"unfinished": len(behind)},
        name="unfinished",
        details=f"{'; '.join(parts)}.",
    )


def find_learners(family: Family) -> Finding:
    """What became of the networks: strong, weak, unstable."""
    columns, lines = family.all_columns, family.thresholds
    counts = Counter(str(name) for column in columns for name in column.learners)
    n = counts.total()
    values = {name: counts[name] / n for name in LEARNERS}
    came_back = sum(
        int(np.isfinite(column.joined("loss_jump_epoch")[_is(column, "strong")]).sum())
        for column in columns
    )
    frozen = _all(columns, "nonfinite_epoch")
    strong, learned, chance = family.losses
    return Finding(
        what=_say_fate(counts, n, int(np.isfinite(frozen).sum()), f"{learned:.2g}"),
        why="Training may succeed, fail to learn, or lose what it had learned: which "
        f"of these may depend on {family.axis.noun}.",
        how=f"strong: final train loss at most {strong:.3g} "
        f"({came_back} of these came back from a jump); unstable: "
        f"{learned:.3g} was reached and lost by a jump, divergence, or "
        "NaN; weak: never reached; undecided: none of these "
        f"({lines.strong:g} and {lines.reached:g} of the loss of chance, {chance:.3g})",
        source=f"{PAPER}, Figure 2",
        level="warning" if counts["unstable"] or counts["weak"] else "good",
        values=values,
        name="learners",
        details=f"{'; '.join(_say_learners(family, one) for one in columns)}.",
        figure="trends",
    )


def _say_fate(counts: Counter[str], n: int, frozen: int, learned: str) -> str:
    """How many networks are which learner, and what that means, the worst first."""
    if counts["strong"] == n:
        return f"All {n} networks are strong: they learned, and kept it."
    meanings = {
        "unstable": "unstable (had learned, and lost it)",
        "weak": f"weak (never reached a train loss of {learned})",
        "undecided": f"undecided (between: reached {learned}, and did not end strong)",
        "strong": "strong",
    }
    found = [(counts[name], said) for name, said in meanings.items() if counts[name]]
    (count, said), *others = found
    verb = "is" if count == 1 else "are"
    parts = [f"{count} of {n} networks {verb} {said}", *(f"{c} {s}" for c, s in others)]
    froze = f"; NaN or Inf froze {frozen}" if frozen else ""
    return f"{', '.join(parts)}{froze}."


def _say_learners(family: Family, column: Column) -> str:
    counts = Counter(map(str, column.learners))
    said = ", ".join(f"{counts[name]} {name}" for name in LEARNERS if counts[name])
    return f"{family.say(column.runs[0])}: {said}"


def find_collapse(family: Family) -> Finding:
    """How many replicas diverge, and when."""
    columns = family.all_columns
    epochs = _all(columns, "divergence_epoch")
    n, diverged = len(epochs), int(np.isfinite(epochs).sum())
    nonfinite = int(np.isfinite(_all(columns, "nonfinite_epoch")).sum())
    parts = []
    for column in columns:
        estimate = summarize(column.joined("divergence_epoch"))
        if estimate.n:
            at = family.say(column.runs[0])
            parts.append(f"{at}: epoch {say_estimate(estimate)}")
    level = columns[0].transitions[0].divergence_level
    what = f"{diverged or 'None'} of {n} networks diverge{'' if diverged else 's'}"
    if diverged:
        what += f", the first at epoch {int(np.nanmin(epochs))}"
    if nonfinite:
        what += f"; NaN or Inf froze {nonfinite}"
    met = [] if nonfinite else ["None met NaN or Inf."]
    return Finding(
        what=f"{what}.",
        why="A diverged network answers with one class, and under the clipped loss it "
        "has no gradient left to come back.",
        how=f"first epoch with a train loss of {level:.3g} or more: "
        f"{_divergence_rule(columns[0])}",
        source=f"{PAPER}, Figures 1 and 2c",
        level="warning" if diverged or nonfinite else "good",
        values={"diverged": diverged, "nonfinite": nonfinite, "n": n},
        name="collapse",
        details=" ".join([f"{'; '.join(parts)}."] * bool(parts) + met),
        figure="figure2-regimes",
    )


def find_coincidence(family: Family) -> Finding:
    """Whether loss and deviation jump together, and which comes first."""
    columns, lines = family.all_columns, family.thresholds
    loss = _all(columns, "loss_jump_epoch")
    deviation = _all(columns, "deviation_jump_epoch")
    lag = np.concatenate([one.lag for column in columns for one in column.transitions])
    both = np.isfinite(lag)
    window = max(one.window for column in columns for one in column.transitions)
    together = int((np.abs(lag[both]) <= window).sum())
    jumps, moves = int(np.isfinite(loss).sum()), int(np.isfinite(deviation).sum())
    layer = family.layer
    what = f"The train loss jumps in {jumps} of {len(loss)} networks."
    if jumps:
        what = (
            f"The train loss jumps in {jumps} of {len(loss)} networks, the deviation "
            f"with it in {together}."
        )
    estimate = summarize(lag)
    details = (
        f"The deviation of {layer} jumps in {moves}, both in {int(both.sum())}, there "
        f"within {window} epochs of each other in {together}"
    )
    if both.any():
        details += f"; {_say_lag(columns, lag)}"
    return Finding(
        what=what,
        why="A deviation that jumps with the train loss shows the failure of training "
        "without a look at the data.",
        how="change points (PELT) of ln L and ln D, counted above "
        f"{lines.loss_jump:g} and {lines.deviation_jump:g} beyond the trend within "
        f"{window} epochs; lag: the largest of ln D a replica against the nearest of "
        "ln L; an order is told where bootstrap and Student's interval agree",
        source=f"{PAPER}, Figure 5",
        level="warning" if jumps else "info",
        values={
            "loss_jumps": float(jumps),
            "deviation_jumps": float(moves),
            "both": float(both.sum()),
            "together": float(together),
            "lag": estimate.mean,
            "lag_low": estimate.low,
            "lag_high": estimate.high,
        },
        name="coincidence",
        details=f"{details}.",
        figure="figure5-evolution",
    )


def find_minima(family: Family) -> Finding | None:
    """Where the minima of test and train loss lie."""
    columns = family.all_columns
    test = _all(columns, "min_test_epoch")
    train = _all(columns, "min_train_epoch")
    falls = _all(columns, "train_still_falling").astype(bool)
    known = np.isfinite(test) & (np.isfinite(train) | falls)
    if not known.any():
        return None
    before = known & (falls | (test < train))
    n, k = int(known.sum()), int(before.sum())
    low, high = share_interval(k, n)
    per_value = [
        f"{family.say(column.runs[0])}: {say_number(float(np.median(seen)))}"
        for column in columns
        if len(seen := _seen(column.joined("min_test_epoch")))
    ]
    return Finding(
        what="The test loss has its minimum before the train loss in "
        f"{say_share(k, n, len(test))}.",
        why="Training on lowers the train loss, not the test loss.",
        how="epoch of the least loss; a minimum in the last epochs is none yet; "
        "interval of the share: Clopper and Pearson",
        source=f"{PAPER}, Figure 2",
        values={"share_test_first": k / n, "n": n},
        name="minima",
        details=f"A share of {say_number(k / n)} "
        f"({say_interval(low, high)}); in {int((known & falls).sum())} of "
        f"{n} the train loss was still falling. Median epoch of the least test loss: "
        f"{'; '.join(per_value)}.",
        figure="figure2-regimes",
    )


def find_examples(family: Family) -> Finding | None:
    """How many training examples give no gradient at the end, and of which kind."""
    columns = family.all_columns
    if any(run.spec.training.loss != "clipped_cross_entropy" for run in family.runs):
        return None
    abandoned = np.concatenate([column.final("abandoned") for column in columns])
    saturated = np.concatenate([column.final("saturated") for column in columns])
    diverged = np.isfinite(_all(columns, "divergence_epoch"))
    strong = np.concatenate([_is(column, "strong") for column in columns])
    parts, values = [], {}
    for name, group in (("diverged", diverged), ("strong", strong)):
        a, s = _seen(abandoned[group]), _seen(saturated[group])
        if len(a) and len(s):
            parts.append(
                f"{np.median(a):.0f} abandoned and {np.median(s):.0f} saturated in the "
                f"{len(a)} {name} networks{_say_others(len(a), group)}"
            )
            values[f"abandoned_{name}"] = float(np.median(a))
            values[f"saturated_{name}"] = float(np.median(s))
    if not parts:
        return None
    number = columns[0].runs[0].arrays.attrs.get("data.num_train")
    of = f" of {number}" if number is not None else ""
    kind = "diverged" if "abandoned_diverged" in values else "strong"
    return Finding(
        what=f"In the {kind} networks {values[f'abandoned_{kind}']:.0f}{of} training "
        "examples are abandoned at the end.",
        why="An abandoned example is wrong and gives no gradient to mend it; a "
        "saturated one gives none because it is right: the two are counted apart.",
        how="probability of the true class below eps, or above 1 - eps, as visited in "
        "the last epoch; median over replicas",
        values=values,
        name="examples",
        details=f"{'; '.join(parts)}.",
    )


def _say_others(known: int, group: Array) -> str:
    others = int(group.sum()) - known
    return f" (not known of {others} more)" if others else ""


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


def _divergence_rule(column: Column) -> str:
    if column.runs[0].spec.training.loss == "clipped_cross_entropy":
        return f"{column.thresholds.divergence:g} of the plateau of the clipped loss"
    return "the loss of chance, after the minimum"


def _all(columns: list[Column], name: str) -> Array:
    return np.concatenate([column.joined(name) for column in columns])


def _is(column: Column, learner: str) -> Array:
    return np.asarray(column.learners == learner)


def _seen(values: Array) -> Array:
    return values[np.isfinite(values)]
