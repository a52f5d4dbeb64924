"""Claims as statements that numbers can break."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from birthmark.analysis import Run, Study, Thresholds, read_columns
from birthmark.shapes import Array
from birthmark.spec import RunSpec
from birthmark_experiments.paper.claims import VERDICTS, judge
from birthmark_experiments.paper.claims_of_marks import claim_mark
from birthmark_experiments.paper.claims_of_start import claim_memory, claim_nearness
from birthmark_experiments.paper.claims_of_training import (
    claim_bounds,
    claim_coincidence,
    claim_untrainability,
)
from birthmark_experiments.paper.claims_of_weights import claim_width, outward_moments
from birthmark_experiments.paper.evidence import Arm, weigh, weigh_share
from birthmark_experiments.paper.facts import find_arms
from synthetic_records import make_records, make_run

HOLDS, ONLY_CLIPPED, DOES_NOT, NOT_SAID = VERDICTS
EPOCHS = np.arange(401)
PLATEAU = -math.log(1e-7) * 0.979
CLIPPED, LOGITS = "clipped_cross_entropy", "cross_entropy"


def fall(floor: float) -> Array:
    return np.maximum(5.9 * np.exp(-EPOCHS / 12), floor)


def collapse(epoch: int) -> Array:
    """Learned, and on the plateau within a few epochs."""
    return np.where(epoch <= EPOCHS, PLATEAU * 0.99, fall(0.05))


def deviation(jump: int | None) -> Array:
    creep = 0.1 + 0.0005 * EPOCHS
    return creep if jump is None else np.where(jump <= EPOCHS, 2 * creep, creep)


def parabola() -> Array:
    return 1 + np.abs(EPOCHS - 40) / 100


def a_run(
    losses: list[Array],
    deviations: list[Array] | None = None,
    *,
    loss: str = CLIPPED,
    width: int = 150,
    **scalars: Array,
) -> Run:
    spec = RunSpec(
        data={"name": "hasyv2"},
        network={"widths": [width, width]},
        training={"loss": loss, "epochs": 400},
        run={"replicas": len(losses)},
        mark={"text": "a"},
    )
    deviations = deviations or [deviation(None)] * len(losses)
    test = np.stack([parabola()] * len(losses), 1)
    return make_run(
        spec,
        np.stack(losses, 1),
        deviation=np.stack(deviations, 1),
        test=test,
        scalars={name: np.tile(x, (len(EPOCHS), 1)) for name, x in scalars.items()},
        num_classes=369,
        largest_class_share=0.021,
    )


def arms(*runs: Run) -> list[Arm]:
    found = []
    for loss in (CLIPPED, LOGITS):
        some = tuple(run for run in runs if run.spec.training.loss == loss)
        if some:
            found.append(Arm(loss, read_columns(Study(some), Thresholds())))
    return found


def test_the_verdict_follows_from_both_losses():
    assert judge(None, True) == NOT_SAID
    assert judge(False, True) == DOES_NOT
    assert judge(True, False) == ONLY_CLIPPED
    assert judge(True, True) == judge(True, None) == HOLDS


def test_a_mean_is_weighed_by_students_t():
    values = np.array([1.2, 0.7, 1.9, np.nan, 1.1])
    found = weigh("", "", values, 0.5)
    known = values[np.isfinite(values)]
    due = stats.ttest_1samp(known, 0.5)
    span = due.confidence_interval(0.95)
    np.testing.assert_allclose(
        [found.p, found.low, found.high], [due.pvalue, span.low, span.high]
    )
    assert found.n == 4
    assert found.effect == pytest.approx((known.mean() - 0.5) / known.std(ddof=1))
    assert found.side == (1 if span.low > 0.5 else 0)
    assert weigh("", "", np.array([2.0, 2.0, 2.0]), 0.0).p == 0.25


def test_a_share_has_the_interval_of_clopper_and_pearson():
    found = weigh_share("", "", np.array([True, True, True, False]))
    low = stats.beta.ppf(0.025, 3, 2)
    high = stats.beta.ppf(0.975, 4, 1)
    np.testing.assert_allclose([found.low, found.high], [low, high])


def test_jumps_that_come_together_hold_with_the_clipped_loss_alone():
    clipped = a_run([collapse(200), collapse(230)], [deviation(200), deviation(232)])
    third = a_run([collapse(210)] * 2, [deviation(210), deviation(213)], width=250)
    quiet = a_run([fall(0.05)] * 3, loss=LOGITS)
    claim = claim_coincidence(arms(clipped, third, quiet))
    assert claim.verdict == ONLY_CLIPPED
    lag = claim.evidence[0]
    assert lag.n == 4
    assert abs(lag.value - np.mean([0, 2, 0, 3])) <= 1.5
    assert claim.evidence[1].value == pytest.approx(213.75 - 40, abs=4)


def test_stable_networks_say_nothing_about_jumps():
    jumping = a_run([collapse(200)] * 3, [deviation(200)] * 3)
    stable = a_run([fall(0.05)] * 9, width=500)
    assert claim_coincidence(arms(jumping, stable)).verdict == HOLDS
    assert claim_coincidence(arms(stable)).verdict == NOT_SAID


def test_jumps_far_apart_do_not_hold():
    apart = a_run([collapse(300)] * 3, [deviation(150)] * 3)
    assert claim_coincidence(arms(apart)).verdict == DOES_NOT


def test_untrainability_is_learning_and_losing_it():
    lost = a_run([collapse(200), collapse(250), fall(0.05)])
    kept = a_run([fall(0.05)] * 3, loss=LOGITS)
    claim = claim_untrainability(arms(lost, kept))
    assert claim.verdict == ONLY_CLIPPED
    assert [one.value for one in claim.evidence if "share" in one.name] == [2 / 3, 0]
    never_learned = a_run([np.full(401, PLATEAU)] * 3)
    assert claim_untrainability(arms(never_learned)).verdict == NOT_SAID


def test_three_regimes_need_all_three_kinds_in_their_order():
    weak = a_run([fall(0.8)] * 3, width=50)
    lost = a_run([collapse(200)] * 3, width=150)
    strong = a_run([fall(0.01)] * 3, width=300)
    assert claim_bounds(arms(weak, lost, strong)).verdict == HOLDS
    assert claim_bounds(arms(lost, strong)).verdict == NOT_SAID
    wrong = a_run([fall(0.01)] * 3, width=100)
    assert claim_bounds(arms(weak, lost, wrong)).verdict == DOES_NOT


@pytest.mark.parametrize(
    ("distance", "verdict"),
    [([0.5, 0.6, 0.55], HOLDS), ([3.0, 3.1, 2.9], DOES_NOT), ([0.1, 3, 1.4], NOT_SAID)],
)
def test_nearness_is_against_an_independent_draw(distance, verdict):
    """Whose relative distance is the root of 2."""
    run = a_run([fall(0.01)] * 3, relative_distance=np.array(distance))
    assert claim_nearness(arms(run)).verdict == verdict


def test_nearness_is_judged_by_width_and_one_width_breaks_it():
    def strong(width, *distance):
        curves = [fall(0.01)] * len(distance)
        return a_run(curves, width=width, relative_distance=np.array(distance))

    near, nearer = strong(300, 0.7, 0.8, 0.75), strong(400, 0.5, 0.6, 0.55)
    far, unclear = strong(100, 1.9, 2.0, 1.95), strong(200, 0.1, 3.0, 1.4)
    alone = strong(250, 3.0)
    assert claim_nearness(arms(near, nearer)).verdict == HOLDS
    assert claim_nearness(arms(near, alone)).verdict == HOLDS
    assert claim_nearness(arms(near, unclear)).verdict == NOT_SAID
    # pooled, both widths together would leave it open
    claim = claim_nearness(arms(near, far))
    assert claim.verdict == DOES_NOT
    assert "0.750" in claim.because
    assert "at width 300" in claim.because
    assert "1.95" in claim.because
    assert "(one replica) at width 250" in claim_nearness(arms(near, alone)).because


def test_nothing_is_said_of_success_without_strong_learners():
    run = a_run([collapse(200)] * 3, correlation=np.array([0.4, 0.5, 0.45]))
    claim = claim_memory(arms(run))
    assert claim.verdict == NOT_SAID
    assert "0 of 3" in claim.because


def test_the_exponent_of_a_known_fall_with_width_is_found():
    """Deviation = width^-1.5 at every epoch."""
    runs = [
        a_run(
            [fall(0.05) * (1 + 0.01 * i) for i in range(3)],
            [np.full(401, width**-1.5 * (1 + 0.01 * i)) for i in range(3)],
            width=width,
        )
        for width in (100, 200, 400)
    ]
    claim = claim_width(arms(*runs))
    one = next(e for e in claim.evidence if e.name.startswith("hidden2, per weight"))
    assert one.value == pytest.approx(1.5, abs=0.02)
    assert claim.verdict == HOLDS


def test_retention_is_compared_between_pairs_where_no_network_is_strong():
    auc = np.array([0.55, 0.56, 0.57])
    lost = a_run([collapse(200)] * 3, mark_auc=auc)
    kept = a_run([fall(0.02)] * 3, loss=LOGITS, mark_auc=auc + [0.1, 0.12, 0.11])
    claim = claim_mark(arms(lost, kept))
    pairs = claim.evidence[-1]
    assert (pairs.n, pairs.value) == (3, pytest.approx(0.11))
    assert claim.verdict == HOLDS
    # where nothing succeeded, a difference says nothing of success
    weak = a_run([fall(3.0)] * 3, loss=LOGITS, mark_auc=auc + [0.1, 0.12, 0.11])
    claim = claim_mark(arms(lost, weak))
    assert claim.evidence[-1].value == pytest.approx(0.11)
    assert claim.verdict == NOT_SAID
    # starts of another width are no pairs
    other = a_run([fall(0.2)] * 3, loss=LOGITS, width=250, mark_auc=auc)
    assert claim_mark(arms(lost, other)).verdict == NOT_SAID


def test_outward_moments_are_those_of_the_weights():
    rng = np.random.default_rng(1)
    initial = rng.uniform(-0.1, 0.1, 60_000)
    moved = np.sign(initial) * rng.gamma(2.0, 0.02, len(initial)) - 0.01
    edges = np.linspace(-1, 1, 42)
    place = np.digitize(initial / 0.1, edges[1:-1])
    groups = [moved[place == i] for i in range(41)]
    columns = {
        "conditional_count": [len(one) for one in groups],
        "conditional_mean": [one.mean() for one in groups],
        "conditional_skewness": [stats.skew(one) for one in groups],
    }
    records = xr.Dataset(
        {
            name: (("distribution_step", "bin"), np.array([x, x]))
            for name, x in columns.items()
        }
        | {"bound": 0.1},
        {
            "distribution_epoch": ("distribution_step", [0, 10]),
            "bin": (edges[1:] + edges[:-1]) / 2,
        },
    )
    growth, skewness = outward_moments(records, 15)
    outer = np.abs(initial) > 0.1 * edges[-6]
    outward = np.sign(initial[outer]) * moved[outer]
    assert growth == pytest.approx(outward.mean() / 0.1, rel=1e-6)
    assert skewness == pytest.approx(2 / math.sqrt(2), rel=0.1)  # of a gamma law


def test_arms_are_the_runs_of_the_papers_protocol_by_loss():
    clipped, logits = a_run([fall(0.1)] * 2), a_run([fall(0.1)] * 2, loss=LOGITS)
    paper = [
        Run(r.run_key, r.spec.with_settings({"training.epochs": 1000}), r.records)
        for r in (logits, clipped)
    ]
    other = make_run(
        RunSpec(data={"name": "mnist"}),
        make_records(fall(0.1)[:, None]).train_loss.to_numpy(),
    )
    found = find_arms(Study((*paper, other)))
    assert [arm.loss for arm in found] == [CLIPPED, LOGITS]
    assert found[0].num_replicas == 2
    [elsewhere] = find_arms(Study((*paper, other)), data="mnist")
    assert elsewhere.loss == CLIPPED
    assert elsewhere.num_replicas == 1
