"""Claim (g): verdicts from replicas whose fate is known."""

import numpy as np
import pytest
from scipy import stats

from birthmark_experiments.near_the_start.facts import Kept, Trials, find_claims

YES, NO = np.ones(5, dtype=bool), np.zeros(5, dtype=bool)
FEW = np.array([1, 1, 0, 0, 0], dtype=bool)
GAIN = np.array([0.80, 0.82, 0.79, 0.81, 0.80])
MIXED = np.array([0.9, -0.8, 0.1, 0.2, -0.1])
NOT_SAID = "cannot be said"
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
        "lost_R": YES,
        "near": Kept("near", GAIN, NO),
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
    _, claim = find_claims([trials])
    said = {True: "does not hold", False: "holds", None: NOT_SAID}
    assert (claim.letter, claim.verdict) == ("g2", said[saves])


def test_what_was_not_tried_cannot_be_said():
    _, claim = find_claims([trials_of(short=None)])
    assert claim.verdict == NOT_SAID
    assert claim.evidence == ()


def test_four_of_five_that_lose_it_in_the_ball_are_too_few_to_say_so():
    """The exact binomial test: 6 of 32 would be as many by halves."""
    four = np.array([1, 1, 1, 1, 0], dtype=bool)
    claim, _ = find_claims([trials_of(near=Kept("near", GAIN, four))])
    assert claim.verdict == NOT_SAID
    claim, _ = find_claims([trials_of(near=Kept("near", GAIN, YES))])
    assert claim.p == pytest.approx(1 / 32)


def test_the_verdict_is_that_of_the_first_loss_and_both_are_told():
    logits = trials_of("loss from logits", near=Kept("near", GAIN, YES))
    claim, *_ = find_claims([trials_of(), logits])
    assert claim.verdict == "holds"
    assert claim.p == pytest.approx(stats.ttest_1samp(GAIN, 0).pvalue)
    assert "5 of 5 networks lost" in claim.because
    assert "and 5 near" in claim.because
    assert [one.value for one in claim.evidence] == pytest.approx(
        [GAIN.mean(), 1, 0, GAIN.mean(), 1, 1]
    )
