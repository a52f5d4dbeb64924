"""The claim about the mark."""

from __future__ import annotations

import numpy as np

from birthmark.analysis import Run, Transitions, say_interval, say_number
from birthmark.shapes import Array
from birthmark.statistics import compare_means
from birthmark_experiments.paper.claims import Claim, judge
from birthmark_experiments.paper.evidence import CLIPPED, LOGITS, Arm, Evidence, weigh
from birthmark_experiments.paper.moments_of_training import (
    MOMENTS,
    Reader,
    at_end,
    read_at,
    value_at,
)


def claim_mark(arms: list[Arm]) -> Claim:
    """(f) The mark stays readable where training succeeds, not where it fails."""
    evidence: list[Evidence] = []
    retained = read_at("mark_auc", at_end)
    for arm in arms:
        for moment, epoch in MOMENTS.items():
            values = arm.each(read_at("mark_auc", epoch))
            evidence.append(weigh(f"retention at {moment}", arm.name, values, 0.5))
        for name, reader, null in (
            ("retention at divergence", _retention_at_divergence, 0.5),
            ("change of retention after divergence", _retention_lost_after, 0.0),
        ):
            evidence.append(weigh(name, arm.name, arm.each(reader), null))
    kept: bool | None = None
    because = "There are no replicas of two kinds to compare."
    clipped = next((arm for arm in arms if arm.loss == CLIPPED), None)
    differences = _pair(arms, retained)
    if clipped is not None and _has_both_kinds(clipped):
        ends, kinds = clipped.each(retained), clipped.learners
        welch = compare_means(ends[kinds == "strong"], ends[kinds == "unstable"])
        kept = {1: True, -1: False}.get(welch.sign)
        because = (
            "Retention at the end, strong minus unstable learners: "
            f"{say_number(welch.difference)} ({say_interval(welch.low, welch.high)})."
        )
    elif len(differences):
        name = "retention at the end, loss from logits minus clipped, same starts"
        pairs = weigh(name, "pairs", differences, 0.0)
        evidence.append(pairs)
        logits = next(arm for arm in arms if arm.loss == LOGITS)
        strong = int((logits.learners == "strong").sum())
        if 2 * strong > len(logits.learners):  # else nothing succeeded to be compared
            kept = {1: True, -1: False}.get(pairs.side)
        because = (
            "Too few networks of one kind stand beside the other under the clipped "
            "loss. Trained from the same starts with the same batches and the loss "
            f"from logits, networks retain {say_number(pairs.value)} more "
            f"({say_interval(pairs.low, pairs.high)}); {strong} of "
            f"{len(logits.learners)} of them are strong learners."
        )
    return Claim(
        "f",
        "The mark stays readable where training succeeds, and is lost where it fails.",
        "Retention (area under the ROC curve of the weights as detector of the mark: "
        "1 perfect, 0.5 gone) at the end, of strong against unstable learners, or of "
        "pairs with the same start under both losses, where most of those trained from "
        "logits are strong. It holds where the difference is above 0.",
        judge(kept, None),
        because,
        tuple(evidence),
    )


def _has_both_kinds(arm: Arm) -> bool:
    kinds = ("strong", "unstable")
    return all(int((arm.learners == kind).sum()) > 1 for kind in kinds)


def _retention_at_divergence(run: Run, found: Transitions, place: int) -> float:
    return value_at(
        run, "mark_auc", run.layer, float(found.divergence_epoch[place]), place
    )


def _retention_lost_after(run: Run, found: Transitions, place: int) -> float:
    """The change of retention from divergence to the end."""
    last = value_at(run, "mark_auc", run.layer, float(found.last_epoch), place)
    return last - _retention_at_divergence(run, found, place)


def _pair(arms: list[Arm], read: Reader) -> Array:
    """Differences, logits minus clipped, of replicas with one start and one order."""
    values: dict[str, dict[str, Array]] = {}
    for arm in arms:
        for column in arm.columns:
            for run, found in zip(column.runs, column.transitions, strict=True):
                alike = run.spec.with_settings({"training.loss": LOGITS}).run_key
                count = range(len(found.min_train_loss))
                each = np.array([read(run, found, place) for place in count])
                values.setdefault(alike, {})[arm.loss] = each
    both = [one for one in values.values() if len(one) == len(arms) == 2]
    differences = [one[LOGITS] - one[CLIPPED] for one in both]
    return np.concatenate(differences) if differences else np.array([])
