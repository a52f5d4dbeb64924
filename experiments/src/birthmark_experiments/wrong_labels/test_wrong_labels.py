"""Left out is who is always abandoned; nothing else changes; verdicts can say no."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.special import log_softmax

import by_hand
from birthmark.data import load_dataset
from birthmark.seeds import batch_order
from birthmark.store import open_store
from birthmark_experiments.wrong_labels.facts import (
    ALL,
    NEEDED,
    NOT_NEEDED,
    NOT_SAID,
    WITHOUT,
    say_epochs,
    summarize,
    weigh,
)
from birthmark_experiments.wrong_labels.measure import (
    OrderWithout,
    find_always_abandoned,
    train_without,
)
from birthmark_experiments.wrong_labels.protocol import PROTOCOLS

PROTOCOL = PROTOCOLS["quick"]
NAN = float("nan")


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(PROTOCOL.spec.data)


def test_left_out_is_who_is_below_the_clip_in_every_replica(results, folder, dataset):
    store = open_store(folder / "store")
    weights = by_hand.kept(store, PROTOCOL.look.run_key, PROTOCOL.early)
    z_RNK = by_hand.logits(dataset.x_train / dataset.full_scale, weights)
    y = dataset.y_train
    loss_RN = -log_softmax(z_RNK, axis=-1)[:, np.arange(len(y)), y]
    expected = (loss_RN > -np.log(PROTOCOL.spec.training.eps)).all(axis=0)
    assert 0 < expected.sum() < (loss_RN[0] > 2.3).sum()
    assert_array_equal(find_always_abandoned(PROTOCOL, dataset, folder), expected)
    assert results.attrs["num_left_out"] == expected.sum()


def test_the_others_are_visited_in_the_order_in_which_they_were():
    kept = np.ones(50, dtype=bool)
    kept[[3, 17, 49]] = False
    order = OrderWithout(seed=4, replica=2, kept_N=kept)
    whole = batch_order(4, 2, 7, 50).tolist()
    assert order(7)[0].tolist() == [n for n in whole if n not in (3, 17, 49)]
    assert len(order) == 47


def test_leaving_nobody_out_is_the_run_with_all(results, dataset):
    everybody = np.ones(len(dataset.y_train), dtype=bool)
    found = train_without(PROTOCOL, dataset, everybody, 1)
    run = results.sel(examples=ALL, replica=1)
    without = results.sel(examples=WITHOUT, replica=1)
    for name in ("train_loss", "test_loss", "abandoned"):
        assert_array_equal(found[name], run[name])
        assert (found[name] != without[name]).any()
    due = found["deviation"].sel(epoch=[2, 4, 6, 8])
    assert due.to_numpy() == pytest.approx(run["deviation"].sel(epoch=due.epoch).values)


@pytest.mark.parametrize(
    ("with_all", "without", "verdict", "p"),
    [
        ([500, 510, 520], [NAN, 530, NAN], NOT_NEEDED, 0.4),
        ([500, 510, 520], [NAN, NAN, NAN], NOT_SAID, 0.1),  # three cannot show it
        ([500, 510, 520], [560], NOT_NEEDED, 1.0),  # one that collapses can
        ([500] * 5, [NAN] * 5, NEEDED, 1 / 126),
        ([NAN] * 5, [NAN] * 5, NOT_SAID, 1.0),
    ],
)
def test_a_verdict_is_that_of_the_exact_test(with_all, without, verdict, p):
    found = weigh(with_all, without)
    assert found.verdict == verdict
    assert found.p == pytest.approx(p)


def test_dates_are_those_of_made_curves(results):
    made = results.copy(deep=True).isel(epoch=slice(0, 1)).drop_vars("epoch")
    made = made.isel(epoch=np.zeros(300, dtype=int)).assign_coords(
        epoch=np.arange(1, 301)
    )
    curve = np.where(np.arange(1, 301) < 200, 0.3, 16.0)
    never = np.full(300, 0.3)
    for arm, one, count in ((ALL, curve, 3), (WITHOUT, never, 2)):
        where = {"examples": arm, "replica": range(count)}
        made["train_loss"].loc[where] = one[:, None].repeat(count, axis=1)
    facts = summarize(made.assign_attrs(plateau=16.1))
    assert facts.arms[ALL]["collapse_epoch"] == pytest.approx([200] * 3, abs=1)
    assert facts.arms[WITHOUT]["collapse_epoch"] == pytest.approx(
        [NAN] * 2, nan_ok=True
    )
    assert facts.verdict.verdict == NOT_SAID
    assert "collapse_epoch" not in facts.later
    assert say_epochs([200.0, NAN]) == "200, –"
