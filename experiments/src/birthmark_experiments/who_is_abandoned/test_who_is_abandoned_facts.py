"""What is read off the counts of abandoned examples, on counts that are made."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from birthmark_experiments.who_is_abandoned.facts import WITH, WITHOUT
from birthmark_experiments.who_is_abandoned.traits import STAGES, TRAITS

REPLICAS, CLASSES, NUM = 3, 6, 1000
KEPT = [2, 5, 10, 15, 20]
BELOW = np.array(  # 5 % is 50: replicas begin at epochs 10, 15 and never
    [[10, 10, 10], [49, 20, 20], [50, 30, 49], [20, 60, 40], [90, 10, 30]]
)
BEFORE_ONSET = [[0, 1], [0, 1, 2], [0, 1, 2, 3]]  # places that have a next one


def make() -> xr.Dataset:
    rng = np.random.default_rng(3)
    counted = (len(STAGES), len(TRAITS), REPLICAS, CLASSES)
    risk = rng.integers(5, 20, counted)
    risk[:, 0] = rng.integers(100, 200, counted[:1] + counted[2:])  # all
    first = rng.binomial(risk, 0.3)
    first[1, 5, 1] = 0  # no odd one before the onset in the second replica
    below = rng.integers(1, 10, (len(KEPT), len(TRAITS), REPLICAS))
    below[:, 0] = BELOW
    still = rng.integers(20, 40, (len(STAGES), len(KEPT), REPLICAS))
    still[1, :4, 2] = 0  # none of them before the onset: no share
    counts = ("stage", "trait", "replica", "class")
    kept = ("kept_epoch", "trait", "replica")
    lasting = ("stage", "kept_epoch", "replica")
    curve, every = ("epoch", "replica"), ("trained", "every_epoch", "replica")
    lost = np.r_[np.full(30, 0.5), np.linspace(0.52, 6.5, 300), np.full(70, 6.6)]
    safe = np.full(400, 0.4)
    losses = np.array([[lost, lost, lost], [lost, safe, safe]]).transpose(0, 2, 1)
    return xr.Dataset(
        {
            "num_first": (counts, first),
            "num_risk": (counts, risk),
            "num_below": (kept, below),
            "mean_loss": (kept, rng.uniform(1, 2, below.shape)),
            "num_still": (lasting, still),
            "num_stay": (lasting, rng.binomial(still, 0.6)),
            "train_loss": (curve, rng.uniform(1, 2, (20, REPLICAS))),
            "deviation": (curve, rng.uniform(0, 1, (20, REPLICAS))),
            "ratio": (
                ("bound", "stage", "trait"),
                rng.uniform(0, 1, (3, *counted[:2])),
            ),
            "picture": (("shown",), np.zeros(4)),
            "every_train_loss": (every, losses),
        },
        {
            "stage": list(STAGES),
            "trait": list(TRAITS),
            "kept_epoch": KEPT,
            "epoch": np.arange(1, 21),
            "bound": ["value", "low", "high"],
            "trained": [WITH, WITHOUT],
            "every_epoch": np.arange(1, 401),
        },
        {
            "protocol": "by hand",
            "num_examples": NUM,
            "num_classes": CLASSES,
            "epochs": 20,
            "batch_size": 48,
            "eps": 1e-3,
            "early": 2,
            "onset": 0.05,
            "num_common": 7,
            "num_images": 4,
            "num_contradictory": 10,
            "num_outvoted": 3,
            "num_tied": 4,
            "least_share": 0.2,
            "floor": 6.0,
            "tied_floor": 3.0,
            "plateau_level": 6.0,
        },
    )


@pytest.fixture(scope="module")
def results() -> xr.Dataset:
    return make()


def test_the_onset_is_the_first_kept_epoch_with_so_large_a_share(facts):
    assert facts["onsets"] == [10, 15, None]
    assert facts["steps_per_epoch"] == 21
    assert facts["num_shown"] == 4
    assert facts["clip_loss"] == pytest.approx(3 * np.log(10))


def test_a_network_that_is_not_lost_has_neither_rise_nor_plateau(facts):
    found = facts["trained"]
    assert [found[name]["num_lost"] for name in (WITH, WITHOUT)] == [3, 1]
    rise, plateau = found[WITHOUT]["rise"], found[WITHOUT]["plateau"]
    # by hand: 0.5 + 0.02 k is 1 at epoch 55 and 6 at epoch 305, half a window of noise
    assert rise[0] == pytest.approx(55, abs=2)
    assert plateau[0] == pytest.approx(305, abs=2)
    assert np.isnan([*rise[1:], *plateau[1:]]).all()
    assert found[WITHOUT]["least"] == [0.5, 0.4, 0.4]
    assert facts["num_trained"] == 400


def test_stages_and_those_never_abandoned_add_up_to_all(results, facts):
    every = results["num_first"].sel(trait="all").sum("class")
    for stage in STAGES:
        mean = float(every.sel(stage=stage).mean())
        assert facts["stages"][stage]["mean"] == pytest.approx(mean)
    total = sum(one["mean"] for one in facts["stages"].values())
    assert facts["num_never"]["mean"] == pytest.approx(NUM - total)


def test_a_trait_is_compared_with_all_that_lack_it(results, facts):
    found = facts["traits"]["odd"]["stages"]["before"]
    (first, all_first), (risk, all_risk) = (
        results[name].sel(stage="before", trait=["odd", "all"]).to_numpy()
        for name in ("num_first", "num_risk")
    )
    assert found["with"] == pytest.approx(first.sum() / risk.sum())
    rest = (all_first - first).sum() / (all_risk - risk).sum()
    assert found["without"] == pytest.approx(rest)
    assert found["num"] == first.sum(axis=1).tolist()
    bounds = [found[name] for name in ("ratio", "low", "high")]
    expected = results["ratio"].sel(stage="before", trait="odd").to_numpy()
    assert bounds == pytest.approx(expected)


def test_the_interval_over_replicas_is_students_of_the_logarithms(results, facts):
    found = facts["traits"]["odd"]["stages"]["before"]
    logs = []
    for replica in (0, 2):  # the second has no such example
        one = results.sel(stage="before").isel(replica=replica).sum("class")
        (first, all_first), (risk, all_risk) = (
            one[name].sel(trait=["odd", "all"]).to_numpy()
            for name in ("num_first", "num_risk")
        )
        rest = (all_first - first) / (all_risk - risk)
        logs.append(np.log(first / risk / rest))
    low, high = stats.t.interval(0.95, 1, np.mean(logs), stats.sem(logs))
    assert found["num_seen"] == 2
    assert [found["replicas"][name] for name in ("mean", "low", "high")] == (
        pytest.approx(np.exp([np.mean(logs), low, high]))
    )


def test_the_share_of_a_trait_is_of_all_examples(results, facts):
    risk = results["num_risk"].sel(stage="early", trait="rare").sum("class")
    assert facts["traits"]["rare"]["share"] == pytest.approx(float(risk.mean()) / NUM)


def test_those_that_stay_are_followed_up_to_the_onset(results, facts):
    for stage, seen in (("early", (0, 1, 2)), ("before", (0, 1))):
        one = results.sel(stage=stage)
        shares = []
        for replica in seen:
            places = BEFORE_ONSET[replica]
            still, stay = (
                one[name].to_numpy()[places, replica].sum()
                for name in ("num_still", "num_stay")
            )
            shares.append(stay / still)
        found = facts["stay"][stage]
        assert (found["mean"], found["n"]) == pytest.approx(
            (np.mean(shares), len(seen))
        )


def test_what_contradictions_cost_is_per_example_and_of_the_lowest_loss(results, facts):
    found = facts["contradictions"]
    lowest = np.mean([min(one) for one in results["train_loss"].to_numpy().T])
    expected = {
        "floor": 0.006,
        "floor_each": 0.6,
        "tied_floor_each": 0.75,
        "least_loss": np.log(5),
        "lowest_train_loss": lowest,
        "floor_of_lowest": 0.006 / lowest,
        "num": 10,
        "num_outvoted": 3,
        "num_tied": 4,
        "num_images": 4,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_an_epoch_tells_who_is_below_beside_loss_and_deviation(results, facts):
    place = 3
    row = facts["epochs"][place]
    traits = list(TRAITS)
    below, loss = (
        results[name].to_numpy()[place] for name in ("num_below", "mean_loss")
    )
    one, tied, outvoted = (
        traits.index(name) for name in ("contradictory", "tied", "outvoted")
    )
    members = results["num_first"].to_numpy()[0, 0].sum(axis=1)
    still = results["num_still"].to_numpy()[0, place]
    expected = {
        "below": 40,
        "contradictory": below[one].mean(),
        "contradictory_share": (below[one] / BELOW[place]).mean(),
        "early_still": (still / members).mean(),
        "loss": loss[0].mean(),
        "contradictory_loss": loss[one].mean(),
        "tied_loss": loss[tied].mean(),
        "outvoted_loss": loss[outvoted].mean(),
        "deviation": results["deviation"].to_numpy()[14].mean(),
    }
    assert row["epoch"] == 15
    assert {name: row[name]["mean"] for name in expected} == pytest.approx(expected)
