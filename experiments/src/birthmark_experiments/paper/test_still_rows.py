"""Rows that hardly move, made by hand."""

import numpy as np
import pytest

from birthmark_experiments.paper.still_rows import compare_without, find_still
from synthetic_records import make_run, make_spec

N, BOUND = 60, 0.2


def weights():
    """Uniform starts; all rows move outward by one bound, but for the first six."""
    random = np.random.default_rng(0)
    start = random.uniform(-BOUND, BOUND, (2, N, N))
    noise = random.normal(scale=0.25 * BOUND, size=start.shape)
    now = start + np.sign(start) * BOUND + noise
    now[:, :6] = start[:, :6] + 0.01 * noise[:, :6]
    return {0: start, 90: now}


def test_rows_are_still_that_moved_by_less_than_half_of_the_bound():
    kept = weights()
    still = find_still(kept[0], kept[90], BOUND)
    assert still.sum(axis=1).tolist() == [6, 6]
    assert still[:, :6].all()


def test_the_peak_at_the_start_is_that_of_still_rows():
    kept = weights()
    run = make_run(make_spec(N, 2), np.ones((401, 2)))
    run.records["bound"] = (
        run.records["deviation_std"].isel(step=0, replica=0) * 0 + BOUND
    )
    [found] = compare_without("x", run, [0, 90], lambda run, epoch: kept[epoch])
    assert found.still == (6, 6)
    assert found.density[0] > 5 * found.density_without[0]
    assert found.growth_without.mean == pytest.approx(1, abs=0.03)
    assert found.growth.mean == pytest.approx(0.9, abs=0.03)
    # a mixture of movers and still rows is skewed though neither is
    assert found.skewness.mean < found.skewness_without.mean - 0.2
