"""Alarms while a curve grows, and the law by which it grows, on curves made by hand."""

import json

import numpy as np
import pytest

from birthmark.statistics import JumpAlarm, compare_growth

STEPS = 100.0 * np.arange(1, 401)


def alarms(values, steps=STEPS):
    alarm = JumpAlarm()
    return [i for i, (t, x) in enumerate(zip(steps, values, strict=True))
            if alarm.update(t, x)]  # fmt: skip


@pytest.mark.parametrize(
    "grow", [np.sqrt, np.log, lambda t: 0 * t + 1, lambda t: 1 / t]
)
@pytest.mark.parametrize("noise", ["none", "normal", "t", "walk"])
def test_growth_without_a_jump_raises_nothing(rng, grow, noise):
    made = {
        "none": lambda: np.zeros(len(STEPS)),
        "normal": lambda: rng.normal(0, 0.01, len(STEPS)),
        "t": lambda: 0.01 * rng.standard_t(4, len(STEPS)),
        "walk": lambda: np.cumsum(rng.normal(0, 0.005, len(STEPS))),
    }
    assert alarms(grow(STEPS) * np.exp(made[noise]())) == []


@pytest.mark.parametrize("size", [0.5, 1.0])
def test_a_jump_is_told_within_three_records(rng, size):
    log_x = 0.5 * np.log(STEPS) + rng.normal(0, 0.01, len(STEPS))
    log_x[200:] += size * np.clip((np.arange(200) + 1) / 3, 0, 1)
    (found,) = alarms(np.exp(log_x))
    assert 200 <= found <= 203


def test_one_outlier_and_what_is_not_finite_are_no_jump(rng):
    values = np.sqrt(STEPS) * np.exp(rng.normal(0, 0.01, len(STEPS)))
    values[100] *= 50
    values[150:155] = [np.nan, np.inf, 0, -1, np.nan]
    assert alarms(values) == []


def test_an_alarm_goes_on_from_its_state(rng):
    values = np.exp(np.cumsum(rng.normal(0, 0.005, len(STEPS))) + (STEPS > 20_000))
    whole = alarms(values)
    first, second = JumpAlarm(), JumpAlarm()
    found = [i for i in range(199) if first.update(STEPS[i], values[i])]
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    found += [i for i in range(199, 400) if second.update(STEPS[i], values[i])]
    assert found == whole != []


def test_the_law_of_growth_is_the_one_that_was_made(rng):
    steps = np.geomspace(1, 1e5, 40)
    noise = np.exp(rng.normal(0, 0.01, 40))
    power = compare_growth(steps, 0.3 * steps**0.4 * noise)
    assert power.law == "power"
    assert power.exponent == pytest.approx(0.4, abs=0.01)
    assert compare_growth(steps, (0.5 + 0.2 * np.log(steps)) * noise).law == "log"


def test_what_cannot_be_told_is_left_open(rng):
    steps = np.geomspace(1, 1e5, 40)
    for t, x in [
        (steps[:5], steps[:5]),  # too few
        (np.linspace(100, 200, 40), np.linspace(1, 2, 40)),  # a third of a decade
        (steps, np.full(40, 2.0)),  # no growth
        (steps, np.exp(rng.normal(0, 1, 40))),  # noise
        (steps, np.full(40, np.nan)),
    ]:
        assert compare_growth(t, x).law == "undecided"
