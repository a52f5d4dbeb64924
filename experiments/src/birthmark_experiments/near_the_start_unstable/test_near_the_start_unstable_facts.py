"""What is read off the arms where training collapses, on curves that are made."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy import stats

EPOCHS, REPLICAS = np.arange(1, 61), 4
NEVER = 99
FALLS = {  # the last epoch before the accuracy falls, by replica
    "clipped free": (40, 35, 45, NEVER),
    "clipped ball 1": (NEVER, NEVER, NEVER, NEVER),
    "clipped norm 1": (NEVER, 30, NEVER, NEVER),
    "clipped moved 1": (40, 40, 40, 40),
    "clipped shrunk 1": (40, 40, 40, 40),
    "logits free": (NEVER, NEVER, NEVER, 50),
    "logits ball 1": (NEVER, NEVER, NEVER, NEVER),
    "logits moved 1": (NEVER, NEVER, NEVER, NEVER),
}
ARMS = list(FALLS)
ALPHAS = np.array([-0.5, 0.0, 0.5, 1.0, 1.5])
LINE = np.array(  # lowest at 1.5, at 0.5 and at 1; rises by 0.3 inside, by more outside
    [
        [2.5, 2.5, 2.5, 2.5],
        [3.0, 3.0, 3.0, 3.0],
        [2.0, 1.0, 2.0, 2.0],
        [1.5, 1.3, 1.1, 1.2],
        [0.5, 4.0, 4.0, 4.0],
    ]
)


def make() -> xr.Dataset:
    rng = np.random.default_rng(7)
    shape = (len(ARMS), len(EPOCHS), REPLICAS)
    falls = np.array(list(FALLS.values()))[:, None]
    accuracy = np.where(EPOCHS[:, None] <= falls, 0.9, 0.1)
    curve, kept = ("arm", "epoch", "replica"), ("arm", "kept_epoch", "replica")
    on_line, put_back = ("tip", "alpha", "replica"), ("tip", "reset", "replica")
    lines = np.stack([LINE, LINE + 1])
    points = {
        name: (dims, values)
        for prefix, dims, loss in (
            ("line", on_line, lines),
            ("reset", put_back, rng.uniform(1, 2, (2, 3, REPLICAS))),
        )
        for name, values in (
            (f"{prefix}_train_loss", loss),
            (f"{prefix}_train_accuracy", loss / 10),
            (f"{prefix}_below_eps", loss / 20),
        )
    }
    return xr.Dataset(
        {
            "train_accuracy": (curve, accuracy + rng.exponential(0.01, shape)),
            "train_loss": (curve, rng.uniform(0.5, 2, shape)),
            "below_eps": (curve, rng.exponential(0.1, shape)),
            "way": (kept, rng.uniform(1, 2, (len(ARMS), 5, REPLICAS))),
            "from_start": (kept, rng.uniform(3, 4, (len(ARMS), 5, REPLICAS))),
            "best_epoch": (("free", "replica"), rng.uniform(10, 40, (2, REPLICAS))),
            "best_way": (("free", "replica"), [[3.0, 4, 5, 6], [9.0, 9, 9, 9]]),
            "start_norm": ("replica", [6.0, 8.0, 10.0, 12.0]),
            **points,
        },
        {
            "arm": ARMS,
            "loss": ("arm", [name.split()[0] for name in ARMS]),
            "kind": ("arm", [name.split()[1] for name in ARMS]),
            "size": ("arm", [float((*name.split(), 0)[2]) for name in ARMS]),
            "epoch": EPOCHS,
            "alpha": ALPHAS,
            "tip": ["best", "last"],
            "reset": ["none", "output", "all"],
            "free": ["clipped", "logits"],
        },
        {"protocol": "by hand", "eps": 1e-3, "epochs": len(EPOCHS), "every": 10},
    )


@pytest.fixture(scope="module")
def results() -> xr.Dataset:
    return make()


def curve(results, arm, name) -> np.ndarray:
    return results[name].sel(arm=arm).to_numpy()


def mean_and_ends(found) -> list[float]:
    return [found["mean"], found["low"], found["high"]]


def test_an_arm_says_its_first_epoch_its_lowest_and_its_last_ten(results, facts):
    row = facts["arms"]["clipped moved 1"]
    loss, below, accuracy = (
        curve(results, "clipped moved 1", name)
        for name in ("train_loss", "below_eps", "train_accuracy")
    )
    lowest = [min(zip(one, EPOCHS, strict=True)) for one in loss.T]
    expected = {
        "lowest_loss": np.mean([one for one, _ in lowest]),
        "lowest_epoch": np.mean([epoch for _, epoch in lowest]),
        "first_below_percent": 100 * below[0].mean(),
        "below_percent": 100 * np.median(below[50:], axis=0).mean(),
        "accuracy": np.median(accuracy[50:], axis=0).mean(),
        "loss_at_end": np.median(loss[50:], axis=0).mean(),
        "way": curve(results, "clipped moved 1", "way")[-1].mean(),
        "began": curve(results, "clipped moved 1", "from_start")[0].mean(),
    }
    assert {name: row[name]["mean"] for name in expected} == pytest.approx(expected)
    assert (row["loss"], row["kind"], row["size"]) == ("clipped", "moved", 1)


def test_what_was_lost_is_counted_and_dated_over_those_that_lost_it(facts):
    # the running median over 21 epochs falls in the one after the last good one
    free = facts["arms"]["clipped free"]
    assert (free["num_learned"], free["num_lost"]) == (4, 3)
    assert free["lost"]["mean"] == pytest.approx((41 + 36 + 46) / 3)
    assert facts["arms"]["clipped ball 1"]["num_lost"] == 0
    assert facts["arms"]["clipped norm 1"]["num_lost"] == 1
    gap = facts["against_free"]["clipped"]["lost"]["clipped moved 1"]
    assert gap["mean"] == pytest.approx(((41 - 41) + (41 - 36) + (41 - 46)) / 3)


def test_arms_are_compared_with_the_free_one_of_their_own_loss(results, facts):
    assert set(facts["against_free"]["logits"]["ratio"]) == set(ARMS[6:])
    for arm in ("clipped shrunk 1", "logits moved 1"):
        loss = arm.split()[0]
        lowest, free = (
            np.log(curve(results, name, "train_loss").min(axis=0))
            for name in (arm, f"{loss} free")
        )
        test = stats.ttest_rel(lowest, free)
        ends = np.exp([(lowest - free).mean(), *test.confidence_interval(0.95)])
        found = facts["against_free"][loss]["ratio"][arm]
        assert mean_and_ends(found) == pytest.approx(ends)


def test_distances_are_those_of_each_loss_and_the_longer_start_is_by_pythagoras(facts):
    assert facts["free"]["clipped"]["best_way"]["mean"] == pytest.approx(4.5)
    assert facts["free"]["logits"]["best_way"]["mean"] == pytest.approx(9)
    assert facts["start_norm"]["mean"] == pytest.approx(9)
    assert facts["longer"] == pytest.approx(math.sqrt(1 + 0.5**2))


def test_a_line_says_where_it_is_lowest_and_how_much_it_rises_inside(facts):
    line = facts["line"]["best"]
    assert line["best_alpha"]["mean"] == pytest.approx((1.5 + 0.5 + 1 + 1) / 4)
    assert line["lowest"]["mean"] == pytest.approx((0.5 + 1 + 1.1 + 1.2) / 4)
    assert line["best_accuracy"]["mean"] == pytest.approx(0.95 / 10)
    assert line["largest_rise"] == pytest.approx(0.3)
    assert line["table"][-0.5]["train_loss"]["mean"] == pytest.approx(2.5)
    assert line["table"][0.0]["below_percent"]["mean"] == pytest.approx(15)
    assert facts["line"]["last"]["lowest"]["mean"] == pytest.approx(1.95)


def test_layers_put_back_are_told_by_tip_and_layer(results, facts):
    for place, tip in enumerate(("best", "last")):
        found = facts["reset"][tip]["output"]
        loss = results["reset_train_loss"].to_numpy()[place, 1].mean()
        assert found["train_loss"]["mean"] == pytest.approx(loss)
        assert found["train_accuracy"]["mean"] == pytest.approx(loss / 10)
        assert found["below_percent"]["mean"] == pytest.approx(5 * loss)


def test_the_claims_are_weighed_by_the_arms_that_their_words_name(results, facts):
    near, center = facts["claims"]
    end = {
        arm: np.median(curve(results, arm, "train_accuracy")[50:], axis=0)
        for arm in ARMS
    }

    def gap(arm):
        return (end[arm] - end[f"{arm.split()[0]} free"]).mean()

    assert [one.value for one in near.evidence] == pytest.approx(
        [gap("clipped ball 1"), 0.75, 0, gap("logits ball 1"), 0.25, 0]
    )
    assert [one.value for one in center.evidence] == pytest.approx(
        [gap("clipped norm 1"), 0.75, 0.25]
    )
