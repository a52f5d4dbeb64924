"""Interventions: what goes on untouched goes on exactly; layers go back exactly."""

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from birthmark.data import load_dataset
from birthmark.store import open_store
from birthmark.training import Training
from birthmark_experiments.rescue import EXPERIMENT
from birthmark_experiments.rescue.facts import summarize
from birthmark_experiments.rescue.measure import find_onsets, intervene
from birthmark_experiments.rescue.protocol import (
    PROTOCOLS,
    Intervention,
    find_spec,
    list_interventions,
)

SPEC = find_spec(PROTOCOLS["quick"])


@pytest.fixture(scope="module")
def store(folder, results):
    return open_store(folder / "store")


def test_untouched_replicas_go_on_from_the_onset_as_they_would_have(results, store):
    records = store.records(SPEC.run_key, distributions=False)
    untouched = results.sel(intervention="nothing")
    assert len(results["replica"]) > 0
    for place, r in enumerate(results["replica"].to_numpy()):
        onset = int(results["onset"][place])
        for name, num in (("train_accuracy", 1), ("train_loss", 1), ("below_eps", 400)):
            recorded = records[name].to_numpy()[onset:, r] / num
            assert float(results[f"onset_{name}"][place]) == pytest.approx(recorded[0])
            after = recorded[1 : 1 + PROTOCOLS["quick"].more]
            assert_allclose(untouched[name][place], after, rtol=1e-5, atol=1e-6)


def test_a_layer_put_back_has_its_initial_values_and_the_others_those_of_then(store):
    dataset = load_dataset(SPEC.data)
    fresh = Training.from_spec(SPEC, dataset, replicas=[1]).initial
    now = store.weights(SPEC.run_key, 4)
    arm = Intervention({"training.lr": 0.01}, ("hidden2",))
    training = intervene(store, SPEC, dataset, arm, 1, 4)
    assert training.spec.training.lr == 0.01
    for name, layer in training.weights.items():
        is_back = name == "hidden2"
        assert_array_equal(layer.w[0], fresh[name].w[0] if is_back else now[name].w[1])
        assert_array_equal(layer.b[0], fresh[name].b[0] if is_back else now[name].b[1])


def test_the_onset_is_the_first_kept_epoch_with_the_share(store):
    abandoned = store.records(SPEC.run_key)["abandoned"].to_numpy()
    kept, num = range(0, 11, 2), 400
    for share in (0.02, 0.5, 1.1):
        expected = [
            next((e for e in kept if abandoned[e, r] >= share * num), -1)
            for r in range(3)
        ]
        assert find_onsets(store, SPEC, share, num) == expected


def test_arms_change_only_what_their_name_says():
    arms = list_interventions(0.1)
    assert arms["nothing"] == Intervention()
    assert arms["lr x 0.1"].settings == {"training.lr": pytest.approx(0.01)}
    assert arms["loss from logits"].settings == {"training.loss": "cross_entropy"}
    assert arms["all put back"].put_back == ("hidden1", "hidden2", "output")


def made_results(ends: dict[str, list[float]], losses: dict[str, list[float]]):
    """Twenty epochs: ten of 0.99, then of an accuracy and a loss of each replica."""
    shape = (len(ends), 4, 20)
    accuracy, loss = np.full(shape, 0.99), np.full(shape, 0.1)
    accuracy[..., 10:] = np.array(list(ends.values()))[..., None]
    loss[..., 10:] = np.array(list(losses.values()))[..., None]
    accuracy[:, :, 12] = 0.0  # a spike of one epoch, which medians do not see
    dims = ("intervention", "replica", "epoch_after")
    at = ("replica", np.array([0.6, 0.6, 0.6, 0.6]))
    return xr.Dataset(
        {
            "train_accuracy": (dims, accuracy),
            "train_loss": (dims, loss),
            "below_eps": (dims, np.full(shape, 0.5)),
            "onset_train_accuracy": at,
            "onset_train_loss": ("replica", np.ones(4)),
            "onset_below_eps": at,
            "onset": ("replica", [80, 81, 82, 83]),
        },
        {"intervention": list(ends)},
        {
            "protocol": "made",
            "num_classes": 100,
            "num_replicas": 5,
            "eps": 1e-3,
            "onset_share": 0.1,
            "more": 20,
        },
    )


def test_ends_are_medians_of_the_last_ten_epochs_and_differences_are_paired():
    ends = {
        "nothing": [0.1, 0.2, 0.1, 0.3],
        "slow": [0.9, 0.8, 0.7, 0.95],
        "half": [0.61, 0.5, 0.6, 0.2],
        "none": [0.11, 0.18, 0.12, 0.31],
    }
    guess = np.log(100)
    losses = {
        "nothing": [guess * 1.03, 7, 7, guess],
        "slow": [0.5, 0.9, 1.0, 1.1],
        "half": [guess * 1.01, guess * 0.99, 3, 3],
        "none": [7.0, 7, 7, 7],
    }
    facts = summarize(made_results(ends, losses))
    arms = facts["arms"]
    assert [arms[name]["num_rescued"] for name in ends] == [0, 4, 2, 0]
    assert [arms[name]["num_guessing"] for name in ends] == [1, 0, 2, 0]
    assert [arms[name]["num_loss_below"] for name in ends] == [0, 3, 0, 0]
    assert arms["slow"]["accuracy"]["mean"] == pytest.approx(np.mean(ends["slow"]))
    assert arms["slow"]["highest"]["mean"] == pytest.approx(0.99)
    tests = {n: stats.ttest_rel(ends[n], ends["nothing"]) for n in list(ends)[1:]}
    for name, test in tests.items():
        found, span = arms[name]["difference"], test.confidence_interval()
        assert found["mean"] == pytest.approx(np.mean(ends[name]) - 0.175)
        assert (found["low"], found["high"]) == pytest.approx((span.low, span.high))
    # Holm by hand: the smallest of three times three, the next times two
    order = sorted(tests, key=lambda name: tests[name].pvalue)
    assert order == ["slow", "half", "none"]
    expected = [
        3 * tests["slow"].pvalue,
        2 * tests["half"].pvalue,
        tests["none"].pvalue,
    ]
    assert [arms[n]["difference"]["p"] for n in order] == pytest.approx(expected)
    exact = stats.binomtest(4, 4).proportion_ci()
    assert (arms["slow"]["low"], arms["slow"]["high"]) == (exact.low, exact.high)
    assert (facts["num_replicas"], facts["num_trained"]) == (4, 5)


def test_rescued_replicas_are_those_that_end_above_their_accuracy_at_the_onset(
    results, facts
):
    for name, arm in facts["arms"].items():
        ends = np.median(results["train_accuracy"].sel(intervention=name), axis=-1)
        at = results["onset_train_accuracy"].to_numpy()
        assert arm["num_rescued"] == (ends >= at).sum()
    assert EXPERIMENT.draw(results).render("svg").startswith(b"<?xml")
