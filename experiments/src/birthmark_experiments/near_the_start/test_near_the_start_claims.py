"""Claim (g): verdicts from replicas whose fate is known."""

import math

import numpy as np
import pytest
from scipy import stats

from birthmark_experiments.near_the_start.claims import (
    AS_GOOD,
    Kept,
    Trials,
    find_claims,
)

YES, NO = np.ones(5, dtype=bool), np.zeros(5, dtype=bool)
FEW = np.array([1, 1, 0, 0, 0], dtype=bool)
GAIN = np.array([0.80, 0.82, 0.79, 0.81, 0.80])
MIXED = np.array([0.9, -0.8, 0.1, 0.2, -0.1])
NOT_SAID = "cannot be said from these records"
FREE = [  # gains in a ball, lost there, lost free; whether the ball saves
    (GAIN, NO, YES, True),
    (GAIN, FEW, YES, True),
    (GAIN, YES, YES, False),
    (GAIN, NO, NO, None),
    (GAIN, YES, FEW, None),
    (MIXED, NO, YES, None),
    (-GAIN, NO, YES, None),
]


def trials_of(arm="clipped loss", **changes) -> Trials:
    said = {
        "learned_R": YES,
        "lost_R": YES,
        "near": Kept("near", GAIN, NO),
        "ratios": {"moved": np.array([2.0, 2.1, 1.9, 2.0, 2.2])},
        "short": Kept("short", GAIN, NO),
    }
    return Trials(arm=arm, **{**said, **changes})


@pytest.mark.parametrize(("gain", "lost", "free", "saves"), FREE)
def test_a_ball_that_keeps_what_free_training_loses_confirms(gain, lost, free, saves):
    claim, *_ = find_claims([trials_of(near=Kept("near", gain, lost), lost_R=free)])
    said = {True: "holds", False: "does not hold", None: NOT_SAID}
    assert (claim.letter, claim.verdict) == ("g1", said[saves])


@pytest.mark.parametrize(("gain", "lost", "free", "saves"), FREE)
def test_a_ball_around_zero_that_keeps_it_too_refutes(gain, lost, free, saves):
    trials = trials_of(short=Kept("short", gain, lost), lost_R=free)
    _, claim, _ = find_claims([trials])
    said = {True: "does not hold", False: "holds", None: NOT_SAID}
    assert (claim.letter, claim.verdict) == ("g2", said[saves])


def test_what_was_not_tried_cannot_be_said():
    _, claim, _ = find_claims([trials_of(short=None)])
    assert claim.verdict == NOT_SAID
    assert claim.evidence == ()


@pytest.mark.parametrize(
    ("ratio", "learned", "verdict"),
    [
        (2.0, YES, "holds"),
        (1.0, YES, "does not hold"),
        (1.2, YES, "does not hold"),
        (AS_GOOD, YES, NOT_SAID),
        (1.0, NO, NOT_SAID),
        (1.0, FEW, NOT_SAID),
    ],
)
def test_a_moved_start_that_trains_as_well_refutes(ratio, learned, verdict):
    ratios = {"moved": ratio * np.array([0.99, 1.01, 1.0, 0.995, 1.005])}
    *_, claim = find_claims([trials_of(ratios=ratios, learned_R=learned)])
    assert (claim.letter, claim.verdict) == ("g3", verdict)


def test_what_the_loss_from_logits_does_not_show_holds_with_the_clip_alone():
    logits = trials_of("loss from logits", near=Kept("near", GAIN, YES))
    claim, *_ = find_claims([trials_of(), logits])
    assert claim.verdict == "holds only with the clipped loss"
    assert "5 of 5 replicas lost" in claim.because
    assert "and 5 near" in claim.because
    assert [one.value for one in claim.evidence] == pytest.approx(
        [GAIN.mean(), 1, 0, GAIN.mean(), 1, 1]
    )


def test_the_evidence_is_students_t_of_the_logarithms():
    ratios = {
        "moved": np.array([2.0, 2.1, 1.9, 2.0, 2.2]),
        "as long as before": np.array([1.0, 1.1, 0.9, 1.0, 1.2]),
    }
    *_, claim = find_claims([trials_of(ratios=ratios)])
    assert [one.n for one in claim.evidence] == [5, 5]
    for one, values in zip(claim.evidence, ratios.values(), strict=True):
        expected = stats.ttest_1samp(np.log(values), math.log(1.25))
        assert one.p == pytest.approx(expected.pvalue)
        span = expected.confidence_interval(0.95)
        assert (one.low, one.high) == pytest.approx((span.low, span.high))
    assert f"{math.exp(claim.evidence[0].value):.3g}" in claim.because
