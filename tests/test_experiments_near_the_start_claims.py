"""Claim (g): verdicts from replicas whose fate is known."""

import math

import numpy as np
import pytest
from scipy import stats

from birthmark.experiments.near_the_start_claims import AS_GOOD, Trials, find_claims

YES, NO = np.ones(5, dtype=bool), np.zeros(5, dtype=bool)
GAIN = np.array([0.80, 0.82, 0.79, 0.81, 0.80])


def trials_of(arm="clipped loss", **changes) -> Trials:
    said = {
        "learned_R": YES,
        "kept_R": GAIN,
        "lost_free_R": YES,
        "lost_ball_R": NO,
        "ratios": {"moved": np.array([2.0, 2.1, 1.9, 2.0, 2.2])},
    }
    return Trials(arm=arm, radius=1.0, **{**said, **changes})


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "holds"),
        ({"lost_ball_R": YES}, "does not hold"),
        ({"lost_free_R": NO}, "cannot be said from these records"),
        ({"lost_free_R": np.array([1, 1, 0, 0, 0], bool)}, "cannot be said from"),
        ({"lost_ball_R": np.array([1, 1, 0, 0, 0], bool)}, "holds"),
        ({"kept_R": np.array([0.9, -0.8, 0.1, 0.2, -0.1])}, "cannot be said from"),
    ],
)
def test_a_ball_that_keeps_what_free_training_loses_confirms(changes, verdict):
    leaving, _ = find_claims([trials_of(**changes)])
    assert leaving.letter == "g1"
    assert leaving.verdict.startswith(verdict)


@pytest.mark.parametrize(
    ("ratio", "learned", "verdict"),
    [
        (2.0, YES, "holds"),
        (1.0, YES, "does not hold"),
        (1.2, YES, "does not hold"),
        (AS_GOOD, YES, "cannot be said"),
        (1.0, NO, "cannot be said"),
        (1.0, np.array([1, 1, 0, 0, 0], bool), "cannot be said"),
    ],
)
def test_a_moved_start_that_trains_as_well_refutes(ratio, learned, verdict):
    ratios = {"moved": ratio * np.array([0.99, 1.01, 1.0, 0.995, 1.005])}
    _, only_near = find_claims([trials_of(ratios=ratios, learned_R=learned)])
    assert only_near.letter == "g2"
    assert only_near.verdict.startswith(verdict)


def test_what_the_loss_from_logits_does_not_show_holds_with_the_clip_alone():
    logits = trials_of("loss from logits", lost_ball_R=YES)
    leaving, _ = find_claims([trials_of(), logits])
    assert leaving.verdict == "holds only with the clipped loss"
    assert "5 in the ball" in leaving.because


def test_the_evidence_is_students_t_of_the_logarithms():
    ratios = {
        "moved": np.array([2.0, 2.1, 1.9, 2.0, 2.2]),
        "as long as before": np.array([1.0, 1.1, 0.9, 1.0, 1.2]),
    }
    _, only_near = find_claims([trials_of(ratios=ratios)])
    assert [one.n for one in only_near.evidence] == [5, 5]
    for one, values in zip(only_near.evidence, ratios.values(), strict=True):
        expected = stats.ttest_1samp(np.log(values), math.log(1.25))
        assert one.p == pytest.approx(expected.pvalue)
        span = expected.confidence_interval(0.95)
        assert (one.low, one.high) == pytest.approx((span.low, span.high))
    first = only_near.evidence[0]
    assert f"{math.exp(first.value):.3g}" in only_near.because
