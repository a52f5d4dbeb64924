"""Claims as statements that numbers can break."""

import math

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy import stats

from birthmark.analysis import Run, Study, Thresholds, read_columns
from birthmark.shapes import Array
from birthmark.spec import RunSpec
from birthmark.statistics import Reading
from birthmark_experiments.paper.claims import (
    VERDICTS,
    Arm,
    Claim,
    Evidence,
    Finding,
    correct,
    decide,
    lack_of_fit,
    weigh,
    weigh_exponent,
    weigh_share,
)
from birthmark_experiments.paper.claims_of_marks import (
    Read,
    claim_loss_of_mark,
    claim_mark,
)
from birthmark_experiments.paper.claims_of_training import (
    claim_bounds,
    claim_clip,
    claim_coincidence,
    claim_untrainability,
)
from birthmark_experiments.paper.claims_of_weights import (
    claim_best_nearness,
    claim_growth,
    claim_memory,
    claim_nearness,
    claim_width,
    outward_moments,
)
from birthmark_experiments.paper.facts import find_arms
from birthmark_experiments.paper.registry import REGISTRY
from synthetic_records import make_records, make_run

HOLDS, DEPENDS, DOES_NOT, NOT_SAID = VERDICTS
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
    return creep if jump is None else np.where(jump <= EPOCHS, 4 * creep, creep)


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
        scalars={
            name: np.broadcast_to(x, (len(EPOCHS), len(losses))).copy()
            for name, x in scalars.items()
        },
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


def evidence(value, null, p):
    return Evidence("", "", value, np.nan, np.nan, 3, null, np.nan, p)


def test_all_widths_must_agree_and_the_weakest_decides():
    """Intersection-union: four strong widths do not make up for a weak one."""
    strong, weak = evidence(2, 1, 1e-6), evidence(1.1, 1, 0.3)
    assert decide([strong] * 3, 1) == Finding(HOLDS, 1e-6)
    assert decide([strong] * 4 + [weak], 1) == Finding(NOT_SAID, 0.3)
    assert decide([], 1).verdict == NOT_SAID
    assert decide([evidence(2, 1, np.nan)], 1).verdict == NOT_SAID  # a single replica


def test_what_is_against_a_claim_is_corrected_for_all_widths():
    strong, other = evidence(2, 1, 1e-6), evidence(0.5, 1, 0.01)
    assert decide([other] * 2, 1) == Finding(DOES_NOT, pytest.approx(0.02))
    assert decide([strong, other], 1) == Finding(DEPENDS, pytest.approx(0.01))
    # one of eight widths at p = 0.01 is what chance gives
    assert decide([evidence(1.1, 1, 0.4)] * 7 + [other], 1).verdict == NOT_SAID


def test_over_all_claims_together_one_in_twenty_is_no_finding():
    def claim(letter, verdict, p):
        return Claim(letter, verdict, p, "", "")

    twenty = [claim(str(i), NOT_SAID, 0.5) for i in range(19)]
    [found] = correct([[claim("x", HOLDS, 0.03), *twenty]])
    assert found[0].verdict == NOT_SAID
    assert found[0].p_holm == pytest.approx(0.6)
    [found] = correct([[claim("x", HOLDS, 0.002), claim("y", NOT_SAID, np.nan)]])
    assert (found[0].verdict, found[0].p_holm) == (HOLDS, 0.002)
    assert np.isnan(found[1].p_holm)


def test_every_claim_says_its_null_and_what_refutes_it():
    for letter, one in REGISTRY.items():
        assert all((one.says, one.test, one.null, one.refuted)), letter
    found = [arms(a_run([fall(0.05)] * 3))]
    letters = [
        claim_nearness(*found).letter,
        claim_memory(*found).letter,
        claim_best_nearness(*found).letter,
        claim_coincidence(*found).letter,
        claim_width(*found).letter,
        claim_untrainability(*found).letter,
        claim_bounds(*found).letter,
        claim_clip(*found).letter,
        claim_mark(*found, []).letter,
        claim_loss_of_mark(*found, []).letter,
    ]
    assert {*letters, "d", "g1", "g2"} == set(REGISTRY)


def test_a_mean_is_weighed_by_students_t():
    values = np.array([1.2, 0.7, 1.9, np.nan, 1.1])
    found = weigh("", "", values, 0.5)
    known = values[np.isfinite(values)]
    due = stats.ttest_1samp(known, 0.5)
    span = due.confidence_interval(0.95)
    assert_allclose([found.p, found.low, found.high], [due.pvalue, span.low, span.high])
    assert found.n == 4
    assert found.effect == pytest.approx((known.mean() - 0.5) / known.std(ddof=1))
    assert found.side == (1 if span.low > 0.5 else 0)
    assert weigh("", "", np.array([2.0, 2.0, 2.0]), 0.0).p == 0.25


def test_a_share_has_the_interval_of_clopper_and_pearson():
    found = weigh_share("", "", np.array([True, True, True, False]))
    low = stats.beta.ppf(0.025, 3, 2)
    high = stats.beta.ppf(0.975, 4, 1)
    assert_allclose([found.low, found.high], [low, high])


def jumping(loss_epochs, deviation_epochs, width=150):
    return a_run(
        [collapse(epoch) for epoch in loss_epochs],
        [deviation(epoch) for epoch in deviation_epochs],
        width=width,
    )


def test_jumps_that_come_together_hold():
    epochs = [200 + 10 * i for i in range(7)]
    claim = claim_coincidence(arms(jumping(epochs, [e + 2 for e in epochs])))
    assert claim.verdict == HOLDS
    assert claim.p == pytest.approx(2 * 0.5**7)
    assert [one.n for one in claim.evidence] == [7] * 7


def test_jumps_far_apart_do_not_hold_and_three_networks_say_nothing():
    epochs = [280 + 10 * i for i in range(7)]
    apart = [epoch - 120 for epoch in epochs]
    assert claim_coincidence(arms(jumping(epochs, apart))).verdict == DOES_NOT
    few = claim_coincidence(arms(jumping(epochs[:3], epochs[:3])))
    assert few.verdict == NOT_SAID
    assert few.power == "3 networks: none"


def test_jumps_that_come_together_by_one_definition_alone_do_not_hold():
    """A deviation that creeps to its half long before it jumps."""
    epochs = [250 + 10 * i for i in range(7)]
    creeping = [
        np.where(e <= EPOCHS, 2.6, np.minimum(0.1 + EPOCHS / 100, 1.9)) for e in epochs
    ]
    run = a_run([collapse(epoch) for epoch in epochs], creeping)
    claim = claim_coincidence(arms(run))
    assert claim.verdict == NOT_SAID
    by_name = {one.name: one.value for one in claim.evidence}
    assert by_name["within a window, steepest rise"] == 1
    assert by_name["within a window, half of the rise"] == 0


def test_stable_networks_say_nothing_about_jumps():
    stable = a_run([fall(0.05)] * 9, width=500)
    assert claim_coincidence(arms(stable)).verdict == NOT_SAID
    epochs = [200 + 10 * i for i in range(7)]
    together = jumping(epochs, epochs)
    assert claim_coincidence(arms(together, stable)).verdict == HOLDS


def test_untrainability_is_learning_and_losing_it_for_good():
    lost = a_run([collapse(200), collapse(250), collapse(220)])
    claim = claim_untrainability(arms(lost))
    assert claim.verdict == HOLDS
    assert "3 of 3 with the clipped loss" in claim.because
    # a rise that is over again, or no learning before: none
    spike = np.where(np.abs(EPOCHS - 300) < 15, 5.0, fall(0.05))
    never_learned = np.full(401, PLATEAU)
    for curve in (spike, never_learned, fall(0.05)):
        assert claim_untrainability(arms(a_run([curve] * 3))).verdict == NOT_SAID


def test_untrainability_is_refuted_by_many_networks_that_keep_what_they_learned():
    kept = [a_run([fall(0.05)] * 6, width=width) for width in (100, 200)]
    claim = claim_untrainability(arms(*kept))
    assert claim.verdict == DOES_NOT
    assert claim.p == pytest.approx(0.75**12)
    beyond = [a_run([fall(0.05)] * 6, width=width) for width in (50, 500)]
    assert claim_untrainability(arms(*beyond)).verdict == NOT_SAID


def test_that_the_plateau_needs_the_clip_takes_more_than_three_against_three():
    lost, kept = [collapse(200)] * 3, [fall(0.05)] * 3
    three = claim_clip(arms(a_run(lost), a_run(kept, loss=LOGITS)))
    assert (three.verdict, three.p) == (NOT_SAID, pytest.approx(0.1))
    six = claim_clip(arms(a_run(lost * 2), a_run(kept * 2, loss=LOGITS)))
    assert six.verdict == HOLDS
    # widths that only one loss was run at do not count
    more = a_run(lost * 3, width=200)
    apart = claim_clip(arms(a_run(lost), more, a_run(kept, loss=LOGITS)))
    assert apart.p == pytest.approx(0.1)
    chance = a_run([np.where(EPOCHS < 300, fall(0.05), 7.0)] * 6, loss=LOGITS)
    backwards = claim_clip(arms(a_run(kept * 2), chance))
    assert backwards.verdict == DOES_NOT


def test_three_regimes_need_several_widths_of_each_kind_in_their_order():
    def columns(kinds):
        curves = {"w": fall(0.8), "u": collapse(200), "s": fall(0.01)}
        runs = [a_run([curves[k]] * 3, width=20 + 10 * i) for i, k in enumerate(kinds)]
        return arms(*runs)

    assert claim_bounds(columns("wwuus")).verdict == NOT_SAID  # 1 of 30, twice
    claim = claim_bounds(columns("wwuuss"))
    assert (claim.verdict, claim.p) == (HOLDS, pytest.approx(2 / 90))
    assert claim_bounds(columns("wus")).verdict == NOT_SAID
    assert claim_bounds(columns("wwss")).verdict == NOT_SAID
    assert claim_bounds(columns("swuwus")).verdict == NOT_SAID
    assert claim_bounds(columns("ssuuww")).verdict == DOES_NOT


@pytest.mark.parametrize(
    ("distance", "verdict"),
    [([0.5, 0.6, 0.55], HOLDS), ([3.0, 3.1, 2.9], DOES_NOT), ([0.1, 3, 1.4], NOT_SAID)],
)
def test_nearness_is_against_an_independent_draw(distance, verdict):
    """Whose relative distance is the root of 2."""
    run = a_run([fall(0.01)] * 3, relative_distance=np.array(distance))
    assert claim_nearness(arms(run)).verdict == verdict


def test_nearness_is_judged_by_width():
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
    assert claim.verdict == DEPENDS
    assert "1.95" in claim.because
    assert "(one network) at 250" in claim_nearness(arms(near, alone)).because


def test_near_at_the_best_test_loss_and_far_at_the_end_are_two_claims():
    """Unstable networks have not failed yet when their test loss is least."""
    way = np.where(EPOCHS[:, None] < 100, 0.9, 5.0) * np.array([0.98, 1, 1.02])
    run = a_run([fall(0.01)] * 3, relative_distance=way)
    assert claim_best_nearness(arms(run)).verdict == HOLDS
    assert claim_nearness(arms(run)).verdict == DOES_NOT
    lost = a_run([collapse(200)] * 3, relative_distance=way)
    assert claim_best_nearness(arms(lost)).verdict == HOLDS
    assert claim_nearness(arms(lost)).verdict == NOT_SAID


def test_nothing_is_said_of_success_without_strong_learners():
    run = a_run([collapse(200)] * 3, correlation=np.array([0.4, 0.5, 0.45]))
    claim = claim_memory(arms(run))
    assert claim.verdict == NOT_SAID
    assert claim.because == "No network of that kind is there."


def falling(exponents, widths=(100, 200, 400), noise=0.01):
    """Values that fall with width by these exponents from one to the next."""
    random, value, found = np.random.default_rng(0), 1.0, {}
    for i, width in enumerate(widths):
        value *= (widths[i - 1] / width) ** exponents[i - 1] if i else 1.0
        found[float(width)] = value * np.exp(random.normal(scale=noise, size=3))
    return found


def test_an_exponent_is_students_t_of_the_slope():
    values = falling([0.8, 0.8])
    found = weigh_exponent("", "", values, 0.5)
    x = np.repeat(np.log(list(values)), 3)
    line = stats.linregress(x, np.log(np.concatenate(list(values.values()))))
    t = (-line.slope - 0.5) / line.stderr
    assert found.value == pytest.approx(-line.slope)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 7))
    assert found.value == pytest.approx(0.8, abs=0.02)
    # two widths are no exponent
    assert np.isnan(weigh_exponent("", "", falling([0.8], (100, 200)), 0.5).value)


def test_a_power_law_that_is_none_is_told():
    assert lack_of_fit(falling([0.8, 0.8])) > 0.05
    assert lack_of_fit(falling([0.2, 1.4])) < 1e-4
    assert np.isnan(lack_of_fit(falling([0.8], (100, 200))))


@pytest.mark.parametrize(
    ("exponent", "verdict"), [(0.9, HOLDS), (0.5, NOT_SAID), (0.3, DOES_NOT)]
)
def test_falling_as_the_start_does_is_no_finding(exponent, verdict):
    """The exponent per weight is above 0 in all three cases."""
    runs = [
        a_run(
            [fall(0.01)] * 3,
            [0.1 * width**-exponent * s * (1 + EPOCHS / 100) for s in (0.99, 1, 1.01)],
            width=width,
        )
        for width in (100, 200, 400)
    ]
    assert claim_width(arms(*runs)).verdict == verdict
    assert claim_width(arms(*runs[:2])).verdict == NOT_SAID


def outward_records(growth, skewness=0.3, empty=()):
    """Records of three replicas whose large weights grow so, some bins empty."""
    centre = np.linspace(-0.975, 0.975, 40)
    count = np.full((2, 3, 1, 40), 50)
    count[..., list(empty)] = 0
    away = (
        np.sign(centre)
        * np.ones((2, 3, 1, 1))
        * np.array([0.98, 1, 1.02])[:, None, None]
    )
    moved = np.where(count > 0, 0.1 * growth * away, np.nan)
    skewed = np.where(count > 0, skewness * away, np.nan)
    dims = ("distribution_step", "replica", "layer", "bin")
    return xr.Dataset(
        {
            "conditional_count": (dims, count),
            "conditional_mean": (dims, moved),
            "conditional_skewness": (dims, skewed),
            "bound": ("layer", [0.1]),
        },
        {
            "distribution_epoch": ("distribution_step", [0, 10]),
            "bin": centre,
            "layer": ["hidden2"],
        },
    )


def test_growth_is_judged_by_width_not_by_the_mean_of_all():
    runs = {w: a_run([fall(0.01)] * 3, width=w) for w in (50, 200, 300)}
    growths = {50: -0.2, 200: 0.7, 300: 0.7}

    def judge(growths):
        keys = {run.run_key: outward_records(growths[w]) for w, run in runs.items()}
        return claim_growth(arms(*runs.values()), keys.__getitem__).verdict

    assert judge(growths) == DEPENDS  # the mean of all is 0.4
    assert judge({50: 0.5, 200: 0.7, 300: 0.7}) == HOLDS
    assert judge({50: -0.5, 200: -0.7, 300: -0.7}) == DOES_NOT


def test_an_empty_bin_does_not_drop_its_network():
    run = a_run([fall(0.01)] * 3)
    records = outward_records(0.5, empty=(0, 39))
    claim = claim_growth(arms(run), lambda key: records)
    assert {one.n for one in claim.evidence} == {3}
    assert claim.evidence[0].value == pytest.approx(0.5)


def read(width, replica, epoch, learner, *, collapsed=False, rank=1, auc=0.8):
    reading = Reading(0.55, auc, 0.55, 0.01, rank, 0.7, 26)
    name = "clipped loss"
    return Read(name, width, replica, learner, epoch, collapsed, reading)


def test_a_mark_that_strong_networks_show_holds_and_one_network_is_none():
    strong = [read(300, r, 990, "strong") for r in range(3)]
    assert claim_mark([], strong).verdict == HOLDS
    assert claim_mark([], strong[:1]).verdict == NOT_SAID
    unread = [read(300, r, 990, "strong", rank=5) for r in range(6)]
    assert claim_mark([], unread).verdict == DOES_NOT
    assert claim_mark([], [*strong[:2], *unread[:1]]).verdict == NOT_SAID
    unstable = [read(150, r, 990, "unstable") for r in range(3)]
    assert claim_mark([], unstable).verdict == NOT_SAID


def test_a_mark_is_lost_only_where_the_same_network_showed_it_before():
    """Not by comparing a narrow network with a wide one."""
    before = [read(150, r, 400, "unstable", auc=0.9) for r in range(5)]
    still = [read(150, r, 900, "unstable", collapsed=True) for r in range(5)]
    gone = [
        read(150, r, 900, "unstable", collapsed=True, rank=9, auc=0.5) for r in range(5)
    ]
    wide = [read(500, r, 900, "strong", auc=0.99) for r in range(3)]
    assert claim_loss_of_mark([], [*before, *still, *wide]).verdict == DOES_NOT
    found = claim_loss_of_mark([], [*before, *gone, *wide])
    assert found.verdict == HOLDS
    changes = {one.name: one.value for one in found.evidence}
    assert changes["pooled AUC, after minus before the collapse"] == pytest.approx(-0.4)
    assert claim_loss_of_mark([], [*before, *gone[:3]]).verdict == NOT_SAID
    assert claim_loss_of_mark([], wide).verdict == NOT_SAID


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
