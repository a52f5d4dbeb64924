"""What is read off the tests near the start, on curves whose numbers are known."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy import stats

ALPHAS, RADII, MOVES = (-1.0, 0.0, 0.5, 1.0, 2.0), (0.4, 0.8, 1.0), (0.0, 1.0, 2.0)
LINE = np.array(  # rises by 0.2 inside in one replica, by more outside
    [
        [9.0, 8.0, 7.0],
        [2.0, 2.1, 2.2],
        [1.5, 2.3, 1.0],
        [0.1, 0.2, 0.3],
        [4.0, 5.0, 6.0],
    ]
)
BALL = np.array([[0.9, 0.9, 0.9], [0.15, 0.5, 0.15], [0.1, 0.1, 0.1]])
ENDS = np.array([[0.1, 0.1, 0.1], [0.11, 0.115, 0.112], [0.5, 0.4, 0.6]])
BALL_ACCURACY = np.array([[0.5, 0.4, 0.6], [0.92, 0.94, 0.93], [0.9, 0.91, 0.92]])
END_ACCURACY = np.array([[0.9, 0.91, 0.92], [0.92, 0.9, 0.96], [0.8, 0.7, 0.75]])
BEFORE = np.array([[2.3, 2.4, 2.5], [3.3, 3.4, 3.5], [9.0, 8.0, 7.0]])


@pytest.fixture(scope="module")
def results() -> xr.Dataset:
    tests = {
        "line": ("alpha", LINE, LINE / 10),
        "ball": ("radius", BALL, BALL_ACCURACY),
        "moved": ("move", BEFORE, BEFORE / 10),
        "moved_end": ("move", ENDS, END_ACCURACY),
        "reset": ("reset", BALL, BALL_ACCURACY),
    }
    values = {
        f"{name}_{what}": ((dim, "replica"), numbers)
        for name, (dim, loss, accuracy) in tests.items()
        for what, numbers in (
            ("train_loss", loss),
            ("test_loss", loss + 1),
            ("test_accuracy", accuracy),
        )
    }
    values |= {
        "moved_way": (("move", "replica"), BEFORE + 5),
        "moved_from_start": (("move", "replica"), BEFORE + 7),
    }
    places = {"alpha": ALPHAS, "radius": RADII, "move": MOVES, "reset": ["a", "b", "c"]}
    axes = {name: np.array(place) for name, place in places.items()}
    return xr.Dataset(values, axes, {"protocol": "by hand"})


def test_the_line_says_where_it_is_lowest_and_how_much_it_rises_inside(facts):
    line = facts["line"]
    assert line["best_alpha"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert line["largest_rise"] == pytest.approx(0.2)
    assert line["before"]["mean"] == pytest.approx(8)
    assert line["beyond"]["mean"] == pytest.approx(5)
    assert (line["first_alpha"], line["last_alpha"]) == (-1, 2)
    expected = stats.t.interval(0.95, 2, 5, stats.sem([4.0, 5.0, 6.0]))
    assert (line["beyond"]["low"], line["beyond"]["high"]) == pytest.approx(expected)


def test_the_least_good_ball_is_found_for_each_replica(facts):
    ball = facts["ball"]
    assert ball["least_good"]["mean"] == pytest.approx((0.8 + 1.0 + 0.8) / 3)
    assert ball["best_accuracy_radius"] == 0.8
    gap = BALL_ACCURACY[1] - END_ACCURACY[0]
    assert ball["differences"][0.8]["mean"] == pytest.approx(gap.mean())
    assert ball["table"][0.4]["test_loss"]["mean"] == pytest.approx(1.9)


def test_moved_starts_are_compared_with_the_start_itself(facts):
    moved = facts["moved"]
    assert set(moved["accuracy"]) == {1.0, 2.0}
    assert moved["accuracy"][2.0]["mean"] == pytest.approx(-0.16)
    log = np.log(ENDS[1] / ENDS[0])
    assert moved["log_loss"][1.0]["mean"] == pytest.approx(log.mean())
    assert moved["way"][1.0]["mean"] == pytest.approx(1)
    row = moved["table"][2.0]
    found = [
        row[name]["mean"] for name in ("before", "way", "from_start", "train_loss")
    ]
    assert found == pytest.approx([8, 13, 15, 0.5])


def test_the_claim_is_judged_by_the_widest_ball_below_one(facts):
    near, center = facts["claims"]
    for claim in (near, center):  # free training loses nothing here
        assert claim.verdict == "cannot be said"
        assert math.isnan(claim.p)
    assert "ball of 0.8" in near.evidence[0].name
    gap = BALL_ACCURACY[1] - END_ACCURACY[0]
    assert near.evidence[0].value == pytest.approx(gap.mean())
