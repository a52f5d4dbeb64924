"""Planted jumps are found where they are, and smooth curves have none."""

import numpy as np
import pytest
import ruptures
from hypothesis import given, settings
from hypothesis import strategies as st

from birthmark.statistics import find_all_jumps, find_jumps
from birthmark.statistics.jumps import find_change_points

EPOCHS = np.arange(401)


def _noise(sigma, seed=0):
    return np.exp(np.random.default_rng(seed).normal(0, sigma, len(EPOCHS)))


@pytest.mark.parametrize("factor", [1.5, 4.0, 100.0])
@pytest.mark.parametrize("place", [60, 200, 380])
def test_a_planted_step_is_found_with_its_size(place, factor):
    curve = 0.02 * np.where(place <= EPOCHS, factor, 1.0) * _noise(0.03)
    (jump,) = find_jumps(EPOCHS, curve, window=8, least=0.2)
    assert abs(jump.epoch - place) <= 1
    assert jump.size == pytest.approx(np.log(factor), abs=0.08)
    assert jump.gap == 1


@settings(max_examples=60, deadline=None)
@given(
    power=st.floats(0.05, 1.0),
    scale=st.floats(1e-6, 1e3),
    sigma=st.floats(0.0, 0.03),
    window=st.integers(4, 20),
    seed=st.integers(0, 1000),
)
def test_smooth_growth_by_a_power_of_time_has_no_jump(
    power, scale, sigma, window, seed
):
    curve = scale * EPOCHS**power * _noise(sigma, seed)
    assert not find_jumps(EPOCHS, curve, window=window, least=0.1)


@pytest.mark.parametrize("rate", [0.1, -0.02, 0.004])
def test_exponential_fall_or_slow_rise_has_no_jump(rate):
    # a steady rise of ln L by 0.004 an epoch is a trend, however far it goes
    curve = np.exp(rate * -EPOCHS if rate > 0.05 else abs(rate) * EPOCHS)
    assert not find_jumps(EPOCHS, curve * _noise(0.05), window=8, least=0.5)


def test_a_short_spike_is_no_jump_and_a_longer_one_is():
    curve = np.full(401, 0.01)
    curve[200:203] = 5.0
    assert not find_jumps(EPOCHS, curve, window=8, least=0.5)
    curve[200:210] = 5.0
    (jump,) = find_jumps(EPOCHS, curve, window=8, least=0.5)
    assert jump.epoch == 200


def test_several_jumps_come_the_largest_first():
    curve = np.select([EPOCHS < 100, EPOCHS < 250], [0.1, 0.3], 3.0) * _noise(0.02)
    found = find_jumps(EPOCHS, curve, window=8, least=0.5)
    assert [round(jump.epoch, -1) for jump in found] == [250, 100]


def test_a_jump_counts_only_when_it_ends_above_the_floor():
    curve = np.where(EPOCHS < 100, 0.001, 0.01)
    assert find_jumps(EPOCHS, curve, window=8, least=0.5, floor=0.0099)
    assert not find_jumps(EPOCHS, curve, window=8, least=0.5, floor=0.02)


def test_a_fall_is_no_jump():
    curve = np.where(EPOCHS < 100, 1.0, 0.01)
    assert not find_jumps(EPOCHS, curve, window=8, least=0.1)


def test_sparse_records_find_a_jump_within_the_gap_that_is_told():
    at = np.array([0, 1, 2, 5, 10, 20, 40, 80, 120, 160, 200, 240, 280, 320, 360, 400])
    curve = np.where(at < 230, 1.0, 4.0)
    (jump,) = find_jumps(at, curve, window=8, least=0.1)
    assert 200 <= jump.epoch <= 240
    assert jump.gap == 40


def test_curves_with_gaps_zeros_or_nothing_are_borne():
    curve = np.where(EPOCHS < 100, 1.0, 3.0)
    curve[[0, 7, 150]] = [0.0, np.nan, np.inf]
    (jump,) = find_jumps(EPOCHS, curve, window=8, least=0.5)
    assert jump.epoch == 100
    for nothing in (np.full(401, np.nan), np.zeros(401), curve[:12]):
        assert not find_jumps(EPOCHS[: len(nothing)], nothing, window=8, least=0.5)


def _cost(curve, points, penalty):
    pieces = np.split(curve, points)
    return sum(((x - x.mean()) ** 2).sum() for x in pieces) + penalty * len(points)


def test_change_points_are_those_of_ruptures_or_cost_less():
    # with a shortest piece, ruptures drops some beginnings too early
    draws = np.random.default_rng(1)
    curves = [draws.normal(0, 0.3, draws.integers(30, 200)) for _ in range(40)]
    for curve in curves:
        curve[draws.integers(5, len(curve) - 5) :] += draws.normal(0, 1)
    found = find_change_points(curves, [0.8] * len(curves), 4)
    same = 0
    for curve, points in zip(curves, found, strict=True):
        search = ruptures.KernelCPD(kernel="linear", min_size=4).fit(curve[:, None])
        theirs = [int(one) for one in search.predict(pen=0.8)[:-1]]
        assert np.diff([0, *points, len(curve)]).min() >= 4
        assert _cost(curve, points, 0.8) <= _cost(curve, theirs, 0.8) + 1e-9
        same += points == theirs
    assert same > 30


def test_curves_together_jump_as_each_alone():
    values = np.stack([np.where(at > EPOCHS, 0.1, 1.0) for at in (100, 250, 300)], 1)
    values = values * np.stack([_noise(0.05, seed) for seed in range(3)], 1)
    values[350:, 1], values[5:, 2] = np.nan, np.nan
    found = find_all_jumps(EPOCHS, values, window=8, least=0.3)
    alone = [find_jumps(EPOCHS, one, window=8, least=0.3) for one in values.T]
    assert [round(one[0].epoch) for one in found[:2]] == [100, 250]
    assert list(found) == alone and not found[2]
