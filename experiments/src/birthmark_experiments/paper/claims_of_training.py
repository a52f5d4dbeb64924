"""Claims about when and whether training fails."""

from __future__ import annotations

import math

import numpy as np

from birthmark.analysis import Run, Transitions, say_number, say_sentence
from birthmark_experiments.paper.claims import Claim, judge
from birthmark_experiments.paper.evidence import (
    CLIPPED,
    LOGITS,
    Arm,
    Evidence,
    weigh,
    weigh_share,
)

_FEWEST = 3  # replicas from which something is said


def claim_coincidence(arms: list[Arm]) -> Claim:
    """(b) Loss and deviation jump together, after the minimum of the test loss."""
    evidence: list[Evidence] = []
    said: dict[str, bool | None] = {}
    words = []
    for arm in arms:
        lag = arm.each(lambda run, found, place: float(found.lag[place]))
        after = arm.each(_jump_after_minimum)
        evidence += [
            weigh(
                "jump of the deviation minus jump of the loss (epochs)",
                arm.name,
                lag,
                0,
            ),
            weigh(
                "jump of the deviation minus minimum of the test loss (epochs)",
                arm.name,
                after,
                0,
            ),
        ]
        window = max(one.window for c in arm.columns for one in c.transitions)
        jumped = arm.each(lambda run, found, place: float(found.loss_jump_epoch[place]))
        count, seen = int(np.isfinite(jumped).sum()), int(np.isfinite(lag).sum())
        together = bool((np.abs(lag[np.isfinite(lag)]) <= window).all())
        later = bool((after[np.isfinite(lag)] > 0).all())
        said[arm.loss] = (
            None
            if arm.num_replicas < _FEWEST or _is_silent(arm, count)
            else seen > count / 2 and together and later
        )
        words.append(
            f"with the {arm.name} the loss jumps in {count} of {arm.num_replicas} "
            f"replicas, the deviation as well in {seen} of these"
        )
        if seen:
            words[-1] += (
                f", {say_number(float(np.nanmax(np.abs(lag))))} epochs apart at most"
            )
    return Claim(
        "b",
        "The loss and the deviation jump together, after the minimum of the test loss.",
        "The lag of each replica (jumps are change points of the logarithm; the "
        "window within which they count as together is 2 % of the epochs) against 0, "
        "and the epochs from the minimum of the test loss to the jump of the deviation "
        "against 0. It holds where more than half of the replicas whose loss jumps "
        "have both jumps, all of these within a window of each other and behind the "
        "minimum.",
        judge(said.get(CLIPPED), said.get(LOGITS)),
        say_sentence(words),
        tuple(evidence),
    )


def claim_untrainability(arms: list[Arm]) -> Claim:
    """(e1) There is an untrainability regime."""
    evidence: list[Evidence] = []
    said: dict[str, bool | None] = {}
    words = []
    for arm in arms:
        rise = arm.each(_log_rise)
        lost = arm.each(lambda run, found, place: float(_is_lost(found, place)))
        evidence += [
            weigh("ln of final over minimum train loss", arm.name, rise, 0.0),
            weigh_share("share of replicas that lost everything", arm.name, lost > 0),
        ]
        said[arm.loss] = (
            None
            if arm.num_replicas < _FEWEST or _is_silent(arm, int(lost.sum()))
            else bool(lost.any())
        )
        words.append(
            f"with the {arm.name} {int(lost.sum())} of {arm.num_replicas} replicas "
            "learned and then came to a train loss at or above that of chance, or of "
            "the plateau"
        )
    return Claim(
        "e1",
        "There are widths at which networks learn, and then lose all they learned "
        "(untrainability).",
        "The share of replicas that reach a tenth of the loss of chance and later 0.9 "
        "of the plateau of the clipped loss, or, with the loss from logits, that of "
        "chance; beside it the logarithm of the final over the minimum train loss "
        "against 0. It holds where there are such replicas; where there are none at "
        "the widths that were run, other widths may have them.",
        judge(said.get(CLIPPED), said.get(LOGITS)),
        say_sentence(words),
        tuple(evidence),
    )


def _is_silent(arm: Arm, count: int) -> bool:
    """Whether nothing is said: with the clipped loss other widths may have failed.

    The loss from logits is held against the clipped one at the same widths.
    """
    return count == 0 and arm.loss == CLIPPED


def claim_bounds(arms: list[Arm]) -> Claim:
    """(e2) Narrower networks learn too little, wider ones train for good."""
    said: dict[str, bool | None] = {}
    words = []
    for arm in arms:
        kinds = {column.width: column.majority for column in arm.columns}
        lost = [
            column.width
            for column in arm.columns
            if np.isfinite(column.joined("divergence_epoch")).mean() > 0.5
        ]
        weak = [n for n, kind in kinds.items() if kind == "weak"]
        strong = [n for n, kind in kinds.items() if kind == "strong"]
        complete = bool(lost and weak and strong)
        said[arm.loss] = (
            max(weak) < min(lost) and max(lost) < min(strong) if complete else None
        )
        listed = ", ".join(f"{n} {kind or 'mixed'}" for n, kind in kinds.items())
        words.append(f"with the {arm.name} the widths are {listed}")
    clipped = said.get(CLIPPED)
    missing = (
        ""
        if clipped is not None
        else (
            " Narrow networks that stay weak, untrainable ones and wide ones that stay "
            "strong must all be there to say more."
        )
    )
    return Claim(
        "e2",
        "Narrower networks learn too little (low trainability) and wider ones train "
        "for good (high trainability): three regimes over width.",
        "What most replicas of a width are over their whole training. It holds where "
        "all weak widths lie below all diverging ones, and these below all strong "
        "ones.",
        judge(clipped, said.get(LOGITS)),
        say_sentence(words) + missing,
        (),
    )


def _jump_after_minimum(run: Run, found: Transitions, place: int) -> float:
    return float(found.deviation_jump_epoch[place] - found.min_test_epoch[place])


def _log_rise(run: Run, found: Transitions, place: int) -> float:
    final, least = found.final_train_loss[place], found.min_train_loss[place]
    return math.log(final / least)


def _is_lost(found: Transitions, place: int) -> bool:
    """Whether a replica learned, and later reached the level of divergence."""
    return bool(found.divergence_epoch[place] > found.reached_epoch[place])
