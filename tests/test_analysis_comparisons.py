"""Paired comparisons, censoring, rankings: against SciPy, closed tests, simulation."""

import math
from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from birthmark.analysis import (
    Candidate,
    comparison_table,
    find_differences,
    make_comparison,
    read_outcomes,
    steps_to_reach,
    summarize_comparison,
)
from birthmark.errors import SpecError
from birthmark.spec import RunSpec
from birthmark.statistics import (
    Outcome,
    compare_pairs,
    detectable_effect,
    holm,
    letter_display,
    rank,
)

NAMES = list("abcdef")


def outcome(values_AR, better="high"):
    values_AR = np.asarray(values_AR, dtype=float)
    censored = np.zeros(values_AR.shape, dtype=bool)
    return Outcome("x", "x", "share", better, values_AR, censored, "as it is")


def draw_null(rng, kind, replicas=5):
    """Six candidates with equal means: [A, R]; replicas share what their batches do."""
    shared = rng.normal(size=replicas)
    if kind == "equal scatter":
        own = rng.normal(size=(6, replicas))
    elif kind == "unequal scatter":  # one varies 30 times as much as the others
        own = rng.normal(size=(6, replicas)) * np.array([[30, 1, 1, 1, 1, 1]]).T
    elif kind == "skewed":
        own = rng.exponential(size=(6, replicas))
    else:  # censored at the median
        return np.minimum(rng.exponential(size=(6, replicas)), math.log(2))
    return shared + own


# --- pairs ---------------------------------------------------------------------------


def test_a_pair_is_the_paired_t_test_of_scipy_with_its_interval():
    values_AR = np.random.default_rng(0).normal(size=(3, 7))
    pairs = compare_pairs(["a", "b", "c"], values_AR)
    assert [(one.a, one.b) for one in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    for one, (i, j) in zip(pairs, combinations(range(3), 2), strict=True):
        truth = stats.ttest_rel(values_AR[i], values_AR[j])
        assert one.p == pytest.approx(truth.pvalue, rel=1e-9)
        interval = truth.confidence_interval(0.95)
        assert (one.low, one.high) == pytest.approx(tuple(interval))
        wide = truth.confidence_interval(1 - 0.05 / 3)
        assert (one.wide_low, one.wide_high) == pytest.approx(tuple(wide))
        assert one.n == 7


def test_holm_is_closed_testing_with_bonferroni():
    rng = np.random.default_rng(1)
    for _ in range(20):
        p = rng.uniform(size=4) ** 3
        every = [s for n in range(1, 5) for s in combinations(range(4), n)]
        closed = [
            max(min(1, len(s) * min(p[list(s)])) for s in every if i in s)
            for i in range(4)
        ]
        np.testing.assert_allclose(holm(p), closed)


def test_replicas_without_a_value_leave_only_their_own_pair():
    values_AR = np.array([[1.0, 2, 3, 4], [0, 0, 1, np.nan], [np.nan] * 3 + [1]])
    with_both, one_left, none_left = compare_pairs(["a", "b", "c"], values_AR)
    assert (with_both.n, one_left.n, none_left.n) == (3, 1, 0)
    assert with_both.difference == pytest.approx(5 / 3)
    assert (one_left.p, none_left.p) == (1, 1)
    assert math.isnan(one_left.low)


def test_differences_without_scatter_count_by_the_exact_sign_test():
    same = np.full(5, 0.1135)
    other = same + np.array([0, 1, 0, 1, 0]) * 1e-17
    equal, apart, _ = compare_pairs(["a", "b", "c"], np.array([same, other, same + 1]))
    assert equal.p == 1
    assert apart.p == pytest.approx(
        stats.binomtest(5, 5, 0.5, alternative="two-sided").pvalue
    )
    assert math.isnan(apart.low)
    assert not apart.is_distinguished
    many, *_ = compare_pairs(["a", "b"], np.array([np.zeros(10), np.ones(10)]))
    assert many.is_distinguished


def test_the_detectable_effect_is_seen_as_often_as_it_says():
    rng = np.random.default_rng(2)
    for n, alpha in ((5, 0.05), (10, 0.05 / 15)):
        values = detectable_effect(n, alpha) + rng.normal(size=(4000, n))
        share = np.mean(stats.ttest_1samp(values, 0, axis=1).pvalue < alpha)
        assert share == pytest.approx(0.8, abs=0.025)


# --- errors of the family ------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["equal scatter", "unequal scatter", "skewed", "censored"]
)
def test_among_equals_a_difference_is_seen_in_at_most_5_percent(kind):
    rng = np.random.default_rng(3)
    trials = 600
    wrong = sum(
        any(p.is_distinguished for p in compare_pairs(NAMES, draw_null(rng, kind)))
        for _ in range(trials)
    )
    assert wrong / trials <= 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / trials)


def test_five_pairs_see_large_differences_and_ten_see_smaller_ones():
    rng = np.random.default_rng(4)
    power = {}
    for replicas, shift in ((5, 3.0), (5, 10.0), (10, 3.0)):
        trials = 150
        seen = 0
        for _ in range(trials):
            values_AR = draw_null(rng, "equal scatter", replicas)
            values_AR[0] += shift * math.sqrt(2)  # in std of the differences
            pairs = compare_pairs(NAMES, values_AR)
            seen += np.mean([p.is_distinguished for p in pairs if p.a == "a"])
        power[replicas, shift] = seen / trials
    assert power[5, 3.0] < 0.85 < 0.95 < power[5, 10.0]
    assert power[10, 3.0] > 0.95


# --- rankings ------------------------------------------------------------------------


def test_two_share_a_letter_exactly_if_they_are_not_told_apart():
    rng = np.random.default_rng(5)
    for _ in range(200):
        names = NAMES[: rng.integers(2, 7)]
        pairs = [frozenset(pair) for pair in combinations(names, 2)]
        apart = [pair for pair in pairs if rng.random() < rng.random()]
        letters = letter_display(names, apart)
        for pair in pairs:
            i, j = pair
            shared = set(letters[i]) & set(letters[j])
            assert bool(shared) == (pair not in apart)
        groups = {frozenset(n for n in names if one in letters[n]) for one in "abcdef"}
        assert not any(one < other for one in groups for other in groups if one)


def test_the_order_follows_the_better_side_and_ranks_say_how_sure_it_is():
    rng = np.random.default_rng(6)
    means = np.array([0.5, 0.9, 0.9, 0.1])
    values_AR = means[:, None] + 0.01 * rng.normal(size=(4, 8))
    high = rank(NAMES[:4], outcome(values_AR))
    assert [one.name for one in high.standings][2:] == ["a", "d"]
    assert [one.best_rank for one in high.standings] == [1, 1, 3, 4]
    assert [one.letters for one in high.standings] == ["a", "a", "b", "c"]
    assert {one.name for one in high.leaders} == {"b", "c"}
    low = rank(NAMES[:4], outcome(values_AR, better="low"))
    assert [one.name for one in low.standings][:2] == ["d", "a"]
    assert [one.best_rank for one in low.standings][:2] == [1, 2]


def test_the_true_ranks_lie_in_their_sets_at_once_in_95_percent():
    rng = np.random.default_rng(7)
    means = np.array([0.0, 0.0, 2.0, 2.0, 5.0, 5.0])
    trials, held = 400, 0
    for _ in range(trials):
        values_AR = means[:, None] + draw_null(rng, "equal scatter")
        ranking = rank(NAMES, outcome(values_AR))
        by_name = dict(zip(NAMES, means, strict=True))
        held += all(
            one.best_rank <= 1 + sum(m > by_name[one.name] for m in means)
            for one in ranking.standings
        )
    assert held / trials >= 0.95 - 2.6 * math.sqrt(0.05 * 0.95 / trials)


def test_among_equals_everything_shares_a_letter():
    values_AR = draw_null(np.random.default_rng(8), "equal scatter")
    ranking = rank(NAMES, outcome(values_AR))
    assert ranking.sees_no_difference
    assert {one.letters for one in ranking.standings} == {"a"}
    assert {one.best_rank for one in ranking.standings} == {1}


# --- outcomes ------------------------------------------------------------------------


def test_an_exponential_loss_is_reached_where_it_is_and_never_before_it_falls():
    step_T = np.array([0.0, 10, 20, 30])
    loss_TR = np.stack([2 * np.exp(-step_T / 7), np.full(4, 2.0)], axis=1)
    for level in (1.9, 1.0, 0.1):
        reached, never = steps_to_reach(step_T, loss_TR, level)
        assert reached == pytest.approx(7 * math.log(2 / level))
        assert math.isnan(never)
    assert steps_to_reach(step_T, loss_TR, 2.0).tolist() == [0, 0]
    failed_TR = np.array([[2.0], [np.nan], [0.5], [0.4]])
    assert steps_to_reach(step_T, failed_TR, 1.0).item() == 20
    up_again_TR = np.array([[2.0], [1.0], [3.0], [np.inf]])
    assert steps_to_reach(step_T, up_again_TR, 1.0).item() == 10


def candidate(name, loss_TR, *, accuracy_TR=None, rule="he_normal", **given):
    """Records of a network of one hidden layer of 4 units, recorded every 10 steps."""
    loss_TR = np.asarray(loss_TR, dtype=float)
    num_steps, num_replicas = loss_TR.shape
    size = (num_steps, num_replicas, 2)
    dims = ("step", "replica", "layer")
    pair = ("step", "replica")
    spec = RunSpec(
        data={"name": "digits"},
        network={"widths": [4]},
        initialization={"name": rule},
        training={"loss": "cross_entropy"},
        run={"replicas": num_replicas},
        **given,
    )
    frozen = np.where(np.isnan(loss_TR).any(axis=0), 15, -1)
    accuracy_TR = loss_TR * 0 + 0.9 if accuracy_TR is None else accuracy_TR
    records = xr.Dataset(
        {
            "train_loss": (pair, loss_TR),
            "test_loss": (pair, loss_TR),
            "test_accuracy": (pair, accuracy_TR),
            "nonfinite_step": ("replica", frozen),
            "distance": (dims, np.full(size, 3.0)),
            "bias_distance": (dims, np.full(size, 2.0)),
            "distinct_units": (dims, np.full(size, 2.0)),
        },
        coords={
            "step": 10 * np.arange(num_steps),
            "epoch": ("step", np.arange(num_steps)),
            "layer": ["hidden1", "output"],
        },
        attrs={
            "num_classes": 10,
            "largest_class_share": 0.1,
            "data.num_train": 100,
            "data.num_test": 50,
        },
    )
    return Candidate(name, spec, records)


def test_the_restricted_mean_is_the_area_under_kaplan_meier_up_to_the_budget():
    rng = np.random.default_rng(9)
    step_T = 10.0 * np.arange(9)
    times = rng.exponential(60, size=12)
    loss_TR = 2 * np.exp(-step_T[:, None] * math.log(2 / 0.3) / times)
    a, b = candidate("a", loss_TR), candidate("b", loss_TR * 0 + 5)
    first = read_outcomes([a, b], [0.3])[0]
    assert first.censored_AR[0].sum() == (times > 80).sum() > 0
    reached = np.minimum(times, 80)
    sample = stats.CensoredData.right_censored(reached, times > 80)
    survival = stats.ecdf(sample).sf
    edges = np.array([0, *survival.quantiles[survival.quantiles < 80], 80])
    levels = survival.evaluate(edges[:-1])
    assert first.values_AR[0].mean() == pytest.approx(np.sum(np.diff(edges) * levels))
    assert (first.values_AR[1] == 80).all()
    assert first.censored_AR[1].all()


def test_times_that_rest_on_interpolation_alone_are_told():
    loss_TR = np.array([[2.0, 2.0], [1.0, 0.2], [0.5, 0.1]])
    pair = [candidate(name, loss_TR) for name in "ab"]
    early, late, *_ = read_outcomes(pair, [0.6, 1.5])
    assert early.caveat.startswith("4 of 4 replicas get there before the first")
    assert late.caveat.startswith("2 of 4")
    assert read_outcomes(pair, [0.15])[0].caveat == ""
    found = find_differences(make_comparison(pair, [1.5]))
    assert "interpolation alone" in found[0].what


def test_the_numbers_of_one_replica_are_those_of_a_hand():
    loss_TR = np.array([[9.0], [2.0], [1.0], [0.5]])
    outcomes = read_outcomes([candidate("a", loss_TR), candidate("b", loss_TR)], [1.0])
    found = {one.name: one.values_AR[0, 0] for one in outcomes}
    guess = math.log(10)
    area = 10 * ((guess + 2) / 2 + (2 + 1) / 2 + (1 + 0.5) / 2) / 30
    assert found == pytest.approx(
        {
            "steps_to_1": 20,
            "test_accuracy": 0.9,
            "mean_test_loss": area,
            "distance": math.sqrt(2 * 3**2 + 2 * 2**2),
            "distinct_units": 2 / 4,
        }
    )


def test_a_frozen_replica_guesses_and_nobody_is_left_out_for_it():
    loss_TR = np.array([[2.0, 2.0], [1.0, np.nan], [0.1, np.nan]])
    accuracy_TR = np.array([[0.1, 0.1], [0.5, np.nan], [0.8, np.nan]])
    pair = [candidate(name, loss_TR, accuracy_TR=accuracy_TR) for name in "ab"]
    found = {one.name: one for one in read_outcomes(pair, [0.5])}
    assert found["test_accuracy"].values_AR[0].tolist() == [0.8, 0.1]
    guess = math.log(10)
    assert found["mean_test_loss"].values_AR[0, 1] == pytest.approx(
        ((2 + guess) / 2 + guess) / 2
    )
    assert found["steps_to_0.5"].censored_AR[0].tolist() == [False, True]
    assert np.isnan(found["distance"].values_AR[0]).tolist() == [False, True]
    failed = make_comparison(pair).failures[0]
    assert (failed.num_nonfinite, failed.num_guessing, failed.n) == (1, 1, 2)
    low, high = failed.guessing_interval
    assert stats.binom.sf(0, 2, low) == pytest.approx(0.025)
    assert stats.binom.cdf(1, 2, high) == pytest.approx(0.025)


def test_a_network_that_answers_one_class_guesses_whatever_its_loss():
    loss_TR = np.array([[2.4, 2.4], [2.0, 2.0], [2.0, 2.0]])
    accuracy_TR = np.array([[0.1, 0.1], [0.11, 0.12], [0.11, 0.12]])
    pair = [candidate(name, loss_TR, accuracy_TR=accuracy_TR) for name in "ab"]
    assert make_comparison(pair).failures[0].num_guessing == 1


def test_a_replica_that_loses_what_it_learned_has_diverged():
    learned = np.array([2.4, 0.4, 0.1, 0.1])
    lost = np.array([2.4, 0.4, 0.1, 9.0])
    never = np.array([2.4, 2.301, 2.302, 2.304])
    pair = [candidate(name, np.stack([learned, lost, never], axis=1)) for name in "ab"]
    assert make_comparison(pair).failures[0].num_diverged == 1


def test_replicas_that_fail_in_different_ways_are_all_counted():
    lost_R, frozen_R = [2.4, 0.4, 0.1, 9.0], [2.4, np.nan, np.nan, np.nan]
    learned_R = [2.4, 0.4, 0.1, 0.1]
    loss_TR = np.array([learned_R, lost_R, frozen_R]).T
    accuracy_TR = np.where(np.isnan(loss_TR), np.nan, 0.8)
    pair = [candidate(name, loss_TR, accuracy_TR=accuracy_TR) for name in "ab"]
    failed = make_comparison(pair).failures[0]
    assert (failed.num_nonfinite, failed.num_diverged) == (1, 1)
    assert failed.num_failed == 2


def test_a_comparison_is_refused_where_candidates_are_not_paired():
    loss_TR = np.linspace(2, 0.1, 12).reshape(6, 2)
    good = candidate("a", loss_TR)
    with pytest.raises(SpecError, match="needs 2 initializations"):
        make_comparison([good])
    with pytest.raises(SpecError, match="more than the initialization"):
        other = candidate("b", loss_TR, mark={"text": "a", "layer": "hidden1"})
        make_comparison([good, other])
    with pytest.raises(SpecError, match="same budget"):
        make_comparison([good, candidate("b", loss_TR[:-1])])
    with pytest.raises(SpecError, match="above 0, got -1"):
        make_comparison([good, candidate("b", loss_TR)], losses=[-1])
    with pytest.raises(SpecError, match="2 replicas"):
        make_comparison([candidate(name, loss_TR[:, :1]) for name in "ab"])


# --- words ---------------------------------------------------------------------------


def comparison_of(scale_by_name, replicas=6):
    """Losses that fall exponentially, and accuracies that scatter by 0.01."""
    rng = np.random.default_rng(10)
    step_T1 = 10.0 * np.arange(11)[:, None]
    candidates = []
    for name, (scale, accuracy) in scale_by_name.items():
        rate = scale * (1 + 0.05 * rng.normal(size=replicas))
        accuracy_TR = accuracy + 0.01 * rng.normal(size=(11, replicas))
        loss_TR = 2.4 * np.exp(-step_T1 * rate)
        candidates.append(candidate(name, loss_TR, accuracy_TR=accuracy_TR))
    return make_comparison(candidates, [1.0])


def test_findings_name_the_best_those_not_told_apart_and_those_behind():
    comparison = comparison_of(
        {"slow": (0.001, 0.5), "he": (0.03, 0.9), "lsuv": (0.03, 0.9)}
    )
    found = {one.name: one for one in find_differences(comparison)}
    said = found["test_accuracy"].what
    assert "not told apart from the best; slow is lower by 0.4" in said
    assert "6 of 6 never" in found["steps_to_1"].what
    assert "copies" in found["distinct_units"].what
    assert "few_replicas" not in found
    header, rows = comparison_table(comparison)
    assert header[:2] == ["initialization", "steps to 1"]
    assert rows[0][:2] == ["slow", "never b"]
    assert all(len(row) == len(header) for row in rows)


def test_findings_say_no_difference_where_none_is_seen_and_what_would_have_been():
    comparison = comparison_of({"a": (0.03, 0.9), "b": (0.03, 0.9)}, replicas=4)
    found = {one.name: one for one in find_differences(comparison)}
    assert "no difference is seen between the 2" in found["test_accuracy"].what
    assert "would have been seen with a power of 80 %" in found["test_accuracy"].what
    assert found["few_replicas"].level == "note"


def test_the_summary_is_json_with_all_numbers():
    import json

    comparison = comparison_of({"slow": (0.001, 0.5), "he": (0.03, 0.9)})
    read = json.loads(json.dumps(summarize_comparison(comparison), allow_nan=False))
    assert [one["name"] for one in read["entrants"]] == ["slow", "he"]
    steps = read["outcomes"][0]
    assert steps["censored"]["slow"] == [True] * 6
    assert read["failures"][0]["num_guessing"] == 0
    assert read["num_replicas"] == 6
