"""Distinct units, against counting columns one by one."""

import numpy as np
import pytest
import torch

import birthmark as bm
from birthmark.measurements import measure
from weight_stacks import one_layer


def count_by_hand(w_IO, tolerance=1e-4):
    """Columns that differ from all that were kept before, by their largest entry."""
    rms = np.sqrt(np.mean(w_IO**2))
    kept = []
    for column in w_IO.T:
        if all(np.abs(column - other).max() > tolerance * rms for other in kept):
            kept.append(column)
    return len(kept)


def count(w_RIO):
    weights = one_layer(w_RIO)
    found = measure(weights, weights, kind="scalars").distinct_units
    assert found.dims == ("replica", "layer")
    return found.values[:, 0].tolist()


def test_copies_of_columns_are_counted_once_in_each_replica_by_itself():
    rng = np.random.default_rng(0)
    w_RIO = rng.normal(size=(4, 6, 40))
    for row, num_distinct in enumerate((40, 1, 7, 39)):
        chosen = rng.permutation(np.arange(40) % num_distinct)
        w_RIO[row] = w_RIO[row][:, chosen]
    expected = [count_by_hand(w_IO) for w_IO in w_RIO]
    assert expected == [40, 1, 7, 39]
    assert count(w_RIO) == expected


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_rounding_makes_no_new_unit_and_a_real_difference_does(size):
    rng = np.random.default_rng(1)
    column = rng.normal(size=(50, 1))
    copies = np.repeat(column, 30, axis=1)
    rounded = copies * (1 + 1e-6 * rng.normal(size=copies.shape))
    parted = copies.copy()
    parted[17, 4] += 1e-2
    stack = size * np.stack([copies, rounded, parted])
    assert count(stack) == [1, 1, 2]
    assert count(torch.tensor(stack, dtype=torch.float32)) == [1, 1, 2]


def test_units_that_differ_in_one_weight_or_in_sign_are_different():
    w_IO = np.ones((8, 3))
    w_IO[2, 1] = -1
    w_IO[5, 2] = 1.1
    assert count(w_IO) == [3]
    assert count(np.stack([np.ones((5, 4)), np.eye(5, 4)])) == [1, 4]


def test_zeros_are_one_unit_and_a_failed_replica_has_no_number():
    w_RIO = np.random.default_rng(2).normal(size=(3, 4, 5))
    w_RIO[1] = 0
    w_RIO[2, 0, 0] = np.nan
    first, second, third = count(w_RIO)
    assert (first, second) == (5, 1)
    assert np.isnan(third)


def test_random_units_of_a_wide_layer_are_all_different():
    w_RIO = torch.randn(2, 20, 3000, generator=torch.Generator().manual_seed(3))
    assert count(w_RIO) == [3000, 3000]


def test_a_constant_start_keeps_one_unit_a_layer_through_training():
    spec = bm.RunSpec(
        data={"name": "digits", "examples_per_class": 20},
        network={"widths": [24, 16]},
        initialization={"name": "constant", "value": 0.05},
        training={"epochs": 5, "batch_size": 16},
        run={"replicas": 2},
    )
    *_, last = bm.train(spec)
    found = measure(bm.initial_configuration(spec), last.weights, kind="scalars")
    assert (found.distance.sel(layer="hidden2") > 0).all()
    distinct = found.distinct_units
    assert (distinct.sel(layer=["hidden1", "hidden2"]) == 1).all()
    assert (distinct.sel(layer="output") == 10).all()


def test_rows_are_still_that_move_by_less_than_half_of_the_bound():
    rng = np.random.default_rng(0)
    start = rng.uniform(-1, 1, (2, 8, 300))
    now = start + 0.9 * np.sign(start)
    now[0, :3] = start[0, :3] + 0.4
    now[0, 3] = start[0, 3] + 0.6
    now[1, :2] = start[1, :2]
    found = measure(one_layer(start), one_layer(now), kind="scalars").still_rows
    assert found.values[:, 0].tolist() == [3 / 8, 2 / 8]
