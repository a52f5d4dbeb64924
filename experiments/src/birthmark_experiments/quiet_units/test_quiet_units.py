"""Units counted by hand; the peak and its owners on data that are made."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import by_hand
from birthmark.data import load_dataset
from birthmark.store import open_store
from birthmark_experiments.quiet_units.facts import QUIET, STILL, overlap_p, summarize
from birthmark_experiments.quiet_units.measure import find_densities
from birthmark_experiments.quiet_units.protocol import PROTOCOLS

PROTOCOL = PROTOCOLS["quick"]


@pytest.mark.parametrize("background", ["white", "black"])
def test_units_are_those_counted_by_hand(results, folder, background):
    store, spec = open_store(folder / "store"), PROTOCOL.spec_of(background)
    dataset = load_dataset(spec.data)
    x = dataset.x_train / dataset.full_scale
    assert (x[:, 0].mean() > 0.9) == (background == "white")
    start, end = (by_hand.kept(store, spec.run_key, epoch) for epoch in (0, 6))
    w, b = (np.asarray(one, dtype=float) for one in end[:2])
    active = (x @ w + b[:, None] > 0).mean(axis=1)
    now = results.sel(background=background, kept_epoch=6)
    assert_allclose(now["activity"], active, atol=2 / len(x))
    way = np.asarray(end[2], dtype=float) - np.asarray(start[2], dtype=float)
    moved = np.sqrt(np.square(way).mean(axis=2)) / np.sqrt(6 / 32)
    assert_allclose(now["moved"], moved, rtol=1e-5)


def made(rng, quiet_RU, still_RU):
    """Activities, and deviations of rows: one bound wide, or hardly any."""
    activity = np.where(quiet_RU, 0.01, 0.4)
    scale = np.where(still_RU, 0.05, 1.0)[..., None]
    deviation = scale * rng.normal(size=(*quiet_RU.shape, 200))
    moved = np.sqrt(np.square(deviation).mean(axis=2))
    return activity, moved, find_densities(deviation, activity, moved)


@pytest.mark.parametrize(("belong", "left"), [(True, 1.0), (False, 4.0)])
def test_still_rows_belong_to_quiet_units_only_where_they_do(results, belong, left):
    rng = np.random.default_rng(0)
    units = np.tile(np.arange(150), (3, 1))
    still = units < 15
    quiet = still if belong else (units >= 60) & (units < 90)
    one = made(rng, quiet, still)
    frame = results.isel(unit=np.zeros(150, dtype=int)).copy(deep=True)
    for name, values in zip(("activity", "moved", "density"), one, strict=True):
        shape = frame[name].transpose("background", "kept_epoch", "replica", ...)
        frame[name] = (shape.dims, np.broadcast_to(values, shape.shape).copy())
    facts = summarize(frame)
    for end in facts.ends.values():
        assert end["belong"] is belong
        assert end["still"] == [15, 15, 15]
        assert end["peaks"]["all"]["low"] > 2.5
        assert end["peaks"]["active"]["mean"] == pytest.approx(left, rel=0.3)
        assert end["peaks"]["moving"]["mean"] == pytest.approx(1.05, abs=0.1)


def test_an_overlap_is_weighed_against_any_rows():
    quiet, still = np.arange(20) < 5, np.arange(20) < 3
    # all three of them among the five: C(5, 3) / C(20, 3)
    assert overlap_p(quiet, still) == pytest.approx(10 / 1140)
    assert overlap_p(quiet, np.zeros(20, dtype=bool)) == 1.0


def test_densities_leave_out_quiet_and_still_rows():
    deviation = np.array([[[0.01, 0.01], [0.31, 0.31], [1.01, 1.01]]])
    activity, moved = np.array([[0.5, QUIET / 2, 0.5]]), np.array([[0.01, STILL, 1.0]])
    found = find_densities(deviation, activity, moved)[0]
    weights = np.round(found * 0.05 * 6)  # of six weights
    assert_array_equal(weights[0, [0, 6, 20]], [2, 2, 2])
    assert_allclose(found[1, [0, 6, 20]] * 0.05, [0.5, 0, 0.5])
    assert_allclose(found[2, [0, 6, 20]] * 0.05, [0, 0, 1])
