"""The abandonment experiment: times read from curves, and examples followed by one."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.special import log_softmax

import by_hand
from birthmark.data import load_dataset
from birthmark.store import open_store
from birthmark_experiments import shipped_results
from birthmark_experiments.abandonment import EXPERIMENT
from birthmark_experiments.abandonment.ends import find_collapse, find_death, find_onset
from birthmark_experiments.abandonment.examples import follow_examples
from birthmark_experiments.abandonment.facts import (
    _enrichment,
    _find_first,
    describe_line,
    find_departure,
)
from birthmark_experiments.abandonment.measure import _read_arm
from birthmark_experiments.abandonment.protocol import PROTOCOLS, spec_of


def test_followed_examples_are_those_of_a_forward_pass_by_hand(folder, results):
    store, spec = open_store(folder / "store"), spec_of(PROTOCOLS["quick"], 1e-7)
    dataset = load_dataset(spec.data)
    x, y = dataset.x_train / dataset.full_scale, dataset.y_train
    epochs = store.weights_epochs(spec.run_key)
    losses_TRN = np.array(
        [
            -log_softmax(by_hand.logits(x, by_hand.kept(store, spec.run_key, e)), -1)[
                :, np.arange(len(x)), y
            ]
            for e in epochs
        ]
    )
    hard = epochs.index(10)  # where hard examples are told
    assert_allclose(results["early_loss"], losses_TRN[hard], rtol=1e-3, atol=1e-4)

    class Renamed:  # the same weights, looked at with a clip that many are below
        weights_epochs = staticmethod(lambda key: epochs)
        weights = staticmethod(lambda key, epoch: store.weights(spec.run_key, epoch))

    wide = spec.with_settings({"training.eps": 0.2})
    found = follow_examples(Renamed(), wide, dataset)
    below_TRN = losses_TRN > -np.log(0.2)
    first_RN = np.where(below_TRN.any(0), np.array(epochs)[below_TRN.argmax(0)], -1)
    assert_array_equal(found["first_below"], first_RN)
    assert (first_RN > 0).any()
    assert_array_equal(found["num_below"], below_TRN[:-1].sum(axis=2))
    assert_array_equal(found["num_stay"], (below_TRN[:-1] & below_TRN[1:]).sum(axis=2))


def test_the_first_epochs_of_onset_collapse_and_death_are_found_in_made_curves():
    epochs = np.arange(1, 201)
    accuracy = np.where(epochs < 100, 0.9, 0.5)[:, None]
    assert find_collapse(accuracy) == pytest.approx(100, abs=1)
    assert np.isnan(find_collapse(np.full((200, 1), 0.9)))
    assert np.isnan(find_collapse(np.linspace(0, 0.9, 200)[:, None]))  # still learns
    assert find_onset(np.where(epochs < 50, 0.01, 0.06)[:, None]) == 50
    rising = (epochs / 1000)[:, None]
    assert find_onset(rising) == pytest.approx(50, abs=1)
    assert find_onset(rising, 0.02) == pytest.approx(20, abs=1)
    spike = np.where(epochs == 30, 0.9, 0.0)[:, None]  # of one epoch
    assert np.isnan(find_onset(spike))
    loss = np.where(epochs < 100, 0.5, np.log(10))[:, None]
    dead = np.where(epochs < 100, 0.9, 0.1)[:, None]
    assert find_death(loss, dead, 10) == 100
    assert np.isnan(find_death(loss * 5, dead, 10))  # abandoned, not dead
    never = np.full((200, 1), np.log(10))
    assert np.isnan(find_death(never, np.full((200, 1), 0.1), 10))  # never learned


def test_an_enrichment_is_the_ratio_of_two_shares():
    has = np.zeros((2, 100), bool)
    has[:, :20] = True
    early = np.zeros((2, 100), bool)
    early[:, [0, 1, 2, 3, 50, 51]] = True  # 4 of 20 against 2 of 80
    found = _enrichment(early, has)
    assert found["ratio"]["mean"] == pytest.approx((4 / 20) / (2 / 80))


def test_the_first_are_those_of_the_earliest_epochs_that_together_are_few():
    first = np.full(100, -1)
    first[:4], first[4:9], first[9:80] = 20, 35, 40  # 9 %, then a spike
    assert _find_first(first).nonzero()[0].tolist() == list(range(9))


def made_onsets(eps, onset_CR, fitted):
    return xr.Dataset(
        {
            "eps": ("clip", eps),
            "onset": (("clip", "replica"), onset_CR),
            "fitted": ("clip", fitted),
            "budget": ("clip", [300] * len(eps)),
        },
        {"clip": [f"{one:g}" for one in eps]},
    )


def test_the_line_of_the_first_clips_foretells_those_that_lie_on_it():
    onsets = [[80.0, 82], [120, 124], [160, 166], [250, 258], [np.nan, 430]]
    made = made_onsets([1e-3, 1e-4, 1e-5, 1e-7, 1e-12], onsets, [1, 0, 1, 0, 0])
    found = describe_line(made)
    # by hand: replica 0 rises by 40 a decade from 80 at 3, replica 1 by 42 from 82
    assert found["before"]["epochs"]["mean"] == pytest.approx(41)
    assert found["before"]["intercept"]["mean"] == pytest.approx((-40 - 44) / 2)
    assert found["before"]["residual"] == pytest.approx(0, abs=1e-9)
    assert found["before"]["clips"] == ["0.001", "1e-05"]
    near, far, never = found["foretold"]
    assert (near["clip"], far["clip"], never["clip"]) == ("0.0001", "1e-07", "1e-12")
    assert near["foretold"]["mean"] == pytest.approx(122)
    assert near["difference"]["mean"] == pytest.approx(0, abs=1e-9)
    assert far["foretold"]["mean"] == pytest.approx((240 + 250) / 2)
    assert far["difference"]["mean"] == pytest.approx(9)
    d = stats.ttest_1samp([10, 8], 0)
    assert far["difference"]["p"] == pytest.approx(d.pvalue)
    assert far["difference"]["p_holm"] == pytest.approx(2 * d.pvalue)  # of two tested
    assert never["num"] == 1  # too few for a test, and no part of that of the line
    assert never["difference"] is None
    assert never["foretold"]["mean"] == pytest.approx((440 + 460) / 2)
    assert found["departure"]["clips"] == ["0.001", "0.0001", "1e-05", "1e-07"]


def test_the_departure_of_three_clips_is_students_test_of_their_second_difference():
    y_CR = np.random.default_rng(4).normal(100, 5, (3, 5)) + [[0], [40], [90]]
    found = find_departure(np.array([3.0, 5, 7]), y_CR)
    by_hand = stats.ttest_1samp(y_CR[0] - 2 * y_CR[1] + y_CR[2], 0)
    assert found["f"] == pytest.approx(by_hand.statistic**2)
    assert found["p"] == pytest.approx(by_hand.pvalue)
    # a line leaves y - (y0 + y2) / 2 of the middle, two thirds of it there
    middle = np.abs((y_CR[1] - (y_CR[0] + y_CR[2]) / 2).mean())
    assert found["largest"] == pytest.approx(2 / 3 * middle)


def test_a_departure_is_found_in_five_of_a_hundred_sets_that_lie_on_a_line():
    rng = np.random.default_rng(5)
    x_C = np.array([3.0, 4, 5, 6, 7, 8, 10])
    slopes = 38 + 3 * rng.standard_normal((400, 1, 5))  # replicas have their own
    y = x_C[:, None] * slopes + 6 * rng.standard_normal((400, 7, 5))
    p = np.array([find_departure(x_C, one)["p"] for one in y])
    assert stats.kstest(p, "uniform").pvalue > 0.01
    bent = y + (x_C[:, None] - 6) ** 2 * 2
    assert np.mean([find_departure(x_C, one)["p"] < 0.05 for one in bent]) > 0.95


@pytest.fixture
def made_results():
    """Two clips of 20 epochs, one of 40, and logits; three replicas, 100 examples."""
    clips, budgets = ["0.001", "1e-07", "1e-08", "logits"], [20, 20, 40, 20]
    epoch, measured = np.arange(1, 41), np.arange(0, 41, 10)
    level = np.array([1.0, 2, 3, 4])[:, None, None] + np.array([0.1, 0.2, 0.4])
    curve = np.broadcast_to(level, (4, 40, 3)).copy()
    curve[:, 18:20] *= 10  # the last tenth of twenty
    curve[2, 18:20] /= 10
    curve[2, 36:] *= 7
    curve[[0, 1, 3], 20:] = np.nan
    deviation = np.broadcast_to(level, (4, 5, 3)) * (1 + measured[:, None])
    # replica r: examples below the clip first at kept epochs 5, 10, 15, or never
    first = np.full((3, 100), -1)
    first[:, :4], first[:, 4:9], first[:, 9:60] = 5, 10, 15
    loss = np.linspace(0, 1, 100) * np.ones((3, 1))
    loss[:, :4] = 2.0  # four of the ten hard ones go first
    odd = np.zeros(100)
    odd[[0, 1, 50, 51, 52, 53, 54, 55, 56, 57]] = 1
    curves = ("clip", "epoch", "replica")
    onset = [[5.0, 6, 7], [9, 10, 12], [14, 15, 18], [np.nan] * 3]
    return xr.Dataset(
        {
            "train_loss": (curves, curve),
            "train_accuracy": (curves, curve / 100),
            "below_eps": (curves, curve / 1000),
            "deviation": (("clip", "measured_epoch", "replica"), deviation),
            "onset": (("clip", "replica"), onset),
            "collapse": (("clip", "replica"), onset),
            "death": (("clip", "replica"), np.full((4, 3), np.nan)),
            "onset_at": (("clip", "level", "replica"), np.array(onset)[:, None]),
            "eps": ("clip", [1e-3, 1e-7, 1e-8, 0.0]),
            "fitted": ("clip", [1, 1, 0, 0]),
            "budget": ("clip", budgets),
            "first_below": (("replica", "example"), first),
            "early_loss": (("replica", "example"), loss),
            "odd_neighbour": ("example", odd),
            "label": ("example", np.arange(100) % 7),
            "num_below": (("followed_epoch", "replica"), [[4] * 3, [9] * 3, [60] * 3]),
            "num_stay": (("followed_epoch", "replica"), [[1] * 3, [3] * 3, [45] * 3]),
        },
        {
            "clip": clips,
            "epoch": epoch,
            "measured_epoch": measured,
            "followed_epoch": [5, 10, 15],
            "level": [0.05],
        },
        {
            "protocol": "made",
            "paper_eps": 1e-7,
            "steps_per_epoch": 3,
            "onset": 0.05,
            "fallen": 0.8,
            "num_ambiguous": 0,
        },
    )


def test_ends_are_medians_of_the_last_tenth_of_each_clip(made_results):
    facts = EXPERIMENT.summarize(made_results)
    clips = facts["clips"]
    level = 7 / 30  # mean of the replicas beyond a whole number
    assert clips["0.001"]["final_loss"]["mean"] == pytest.approx(10 * (1 + level))
    assert clips["1e-08"]["final_loss"]["mean"] == pytest.approx(7 * (3 + level))
    assert clips["1e-07"]["final_deviation"]["mean"] == pytest.approx(21 * (2 + level))
    assert clips["1e-08"]["final_deviation"]["mean"] == pytest.approx(41 * (3 + level))
    assert clips["1e-08"]["most_below"]["mean"] == pytest.approx(7 * (3 + level) / 1000)
    against = facts["against_unclipped"]["final_loss"]  # 1e-07 minus logits, paired
    assert against["mean"] == pytest.approx(10 * (2 - 4))
    assert (facts["num_classes"], facts["steps"]) == (7, 60)
    assert facts["budget"] == 20


def test_the_first_and_those_that_stay_are_told_apart_by_the_onset(made_results):
    facts = EXPERIMENT.summarize(made_results)
    first, stay = facts["first"], facts["stay"]
    assert first["num_early"]["mean"] == 9  # with those of epoch 15 they were too many
    # onsets 9, 10, 12: first below by then are 4, 9, 9 of 100
    assert first["share_before_onset"]["mean"] == pytest.approx(22 / 300)
    # of the ten hard ones 4 are early, of ninety 5; of the ten odd ones 2, of ninety 7
    assert first["hard"]["ratio"]["mean"] == pytest.approx((4 / 10) / (5 / 90))
    assert first["odd"]["ratio"]["mean"] == pytest.approx((2 / 10) / (7 / 90))
    # before: epoch 5, and 10 for the replica whose onset is 12
    assert stay["before"]["mean"] == pytest.approx((1 / 4 + 1 / 4 + 4 / 13) / 3)
    assert stay["after"]["mean"] == pytest.approx((48 / 69 + 48 / 69 + 45 / 60) / 3)
    assert stay["gap"] == 5


def test_arms_that_clip_nothing_abandon_nothing_and_shares_are_of_the_examples(
    folder, results
):
    store = open_store(folder / "store")
    for eps, name in ((0.1, "0.1"), (None, "logits")):
        spec = spec_of(PROTOCOLS["quick"], eps)
        records = store.records(spec.run_key, distributions=False)
        num = len(load_dataset(spec.data).y_train)
        assert_allclose(
            results["below_eps"].sel(clip=name, epoch=slice(1, 20)),
            records["below_eps"].to_numpy()[1:] / num,
            rtol=1e-6,
        )
    assert float(results["below_eps"].sel(clip="0.1").max()) > 0
    assert np.isnan(results["onset"].sel(clip="logits")).all()
    assert np.isfinite(results["onset"].sel(clip="0.1")).all()
    assert results["train_loss"].sel(clip="1e-07", epoch=slice(21, 25)).isnull().all()


@pytest.mark.parametrize(("eps", "onset"), [(0.1, 5), (None, np.nan)])
def test_a_loss_without_a_clip_abandons_nothing_however_many_are_below(eps, onset):
    spec = spec_of(PROTOCOLS["quick"], eps)
    dataset = load_dataset(spec.data)
    num, epochs = len(dataset.y_train), spec.training.epochs
    below_TR = np.full((epochs + 1, 3), 0.5) * num
    below_TR[:5] = 0
    curve = ("step", "replica")
    records = xr.Dataset(
        {
            "below_eps": (curve, below_TR),
            "train_loss": (curve, below_TR),
            "train_accuracy": (curve, np.full_like(below_TR, 0.5)),
            "deviation_std": ((*curve, "layer"), below_TR[..., None]),
        },
        {"layer": ["hidden2"]},
    )

    store = SimpleNamespace(records=lambda key, distributions: records)
    arm = _read_arm(store, spec, dataset)
    assert_allclose(arm["below_eps"].sel(epoch=5), 0.5)
    assert_array_equal(arm["onset"], [onset] * 3)


def test_arms_share_their_first_epochs_until_an_example_is_abandoned(results):
    # a clip that nothing is below changes nothing: the same network to rounding
    quiet = results.sel(clip=["1e-07", "logits"], epoch=slice(1, 2))
    assert not quiet["below_eps"].any()
    assert_allclose(
        quiet["train_loss"].sel(clip="1e-07"),
        quiet["train_loss"].sel(clip="logits"),
        rtol=1e-4,
    )
    wide = results["below_eps"].sel(clip="0.1")
    assert (wide > 0).any()


def test_results_are_summarized_and_drawn(results, facts):
    assert facts["num_replicas"] == 3
    assert list(facts["clips"]) == ["0.1", "0.03", "0.01", "1e-07", "1e-08", "logits"]
    assert [facts["clips"][c]["budget"] for c in ("1e-07", "1e-08")] == [20, 25]
    assert facts["clips"]["logits"]["num_onset"] == 0  # nothing is clipped there
    assert EXPERIMENT.draw(results).draw().axes


def test_shipped_networks_that_have_abandoned_all_stand_on_the_plateau():
    results = shipped_results("abandonment")
    for clip in ("0.001", "0.0001"):
        end = results.sel(clip=clip, epoch=300)
        assert (end["below_eps"] > 0.95).all()
        plateau = -np.log(float(end["eps"])) * (1 - end["train_accuracy"])
        assert_allclose(end["train_loss"], plateau, rtol=0.02)
    # a larger share is reached later, or not at all
    onsets = results["onset_at"].transpose("level", "clip", "replica").to_numpy()
    late = np.nan_to_num(onsets, nan=1e9)
    assert (late[1:] >= late[:-1]).all()
    assert_array_equal(onsets[-1], results["onset"])
