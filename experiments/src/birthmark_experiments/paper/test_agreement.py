"""Our numbers beside those of the paper, and when a network has diverged."""

import math
from dataclasses import asdict

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from birthmark.analysis import FIGURE_2, Study, Thresholds, follows_paper, read_columns
from birthmark.spec import RunSpec
from birthmark_experiments.paper.agreement import (
    compare_divergences,
    compare_evaluated,
    compare_with_paper,
    find_minima,
)
from birthmark_experiments.paper.moments_of_training import find_divergences
from birthmark_experiments.paper.words import say_epochs, say_ours
from synthetic_records import make_records, make_run, make_spec

EPOCHS = np.arange(401)
PLATEAU = -math.log(1e-7) * 0.9


def collapsing(start: int) -> np.ndarray:
    """Falls to 0.1, and from `start` on doubles every 20 epochs to the plateau."""
    fall = np.maximum(2.3 * np.exp(-EPOCHS / 30), 0.1)
    rise = 0.1 * 2 ** ((EPOCHS - start) / 20.0)
    return np.minimum(np.where(start < EPOCHS, rise, fall), PLATEAU)


def as_paper(width: int, loss_TR: np.ndarray, **settings) -> object:
    spec = RunSpec(
        data={"name": "hasyv2"},
        network={"widths": [width, width]},
        run={"replicas": loss_TR.shape[1], **settings},
    )
    return make_run(spec, loss_TR, num_classes=369, largest_class_share=0.021)


def test_a_rise_is_dated_where_the_level_is_passed_for_good():
    start = 150
    records = make_records(np.stack([collapsing(start), collapsing(start)], axis=1))
    found = {one.name: one for one in find_divergences(records, make_spec())}
    # 0.1 * 2^((t - 150) / 20) = k * 0.1: t = 150 + 20 log2 k; 0.9 of the plateau alike
    for k in (1.5, 2.0, 3.0):
        due = start + 20 * math.log2(k)
        assert_allclose(found[f"{k:g} times the minimum"].epoch, due, atol=1)
    for share in (0.5, 0.9):
        due = start + 20 * math.log2(share * PLATEAU / 0.1)
        assert_allclose(found[f"{share:g} of the plateau"].epoch, due, atol=1)
    due = start + 20 * math.log2(math.log(10) / 0.1)
    assert_allclose(found["the loss of chance"].epoch, due, atol=1)


def test_a_spike_from_which_a_network_recovers_is_no_divergence():
    loss = collapsing(1000)
    loss[200:203] = 14.0
    records = make_records(loss[:, None])
    assert all(np.isnan(one.epoch) for one in find_divergences(records, make_spec()))


def test_loss_from_logits_has_no_plateau():
    spec = make_spec(training__loss="cross_entropy")
    names = [one.name for one in find_divergences(make_records(np.ones((40, 1))), spec)]
    assert not any("plateau" in name for name in names)
    assert len(names) == 4


def test_differences_are_in_units_of_both_errors():
    """Width 150: the table says 0.30 +- 5 % for the minimum train loss."""
    loss = np.stack([collapsing(150) + shift for shift in (0.1, 0.15, 0.2)], axis=1)
    found = compare_with_paper(
        read_columns(Study((as_paper(150, loss),)), Thresholds())
    )
    one = next(each for each in found if each.name == "minimum train loss")
    ours = loss[1:].min(axis=0)
    assert one.error == pytest.approx(stats.sem(ours))
    together = math.sqrt(stats.sem(ours) ** 2 + (0.05 * 0.30) ** 2)
    assert one.in_errors == pytest.approx((ours.mean() - 0.30) / together)
    assert one.ratio == pytest.approx(ours.mean() / 0.30)
    assert not one.is_within(0.1)
    assert {each.width for each in found} == {150}


def test_divergence_is_compared_under_every_definition():
    loss = np.stack([collapsing(150)] * 3, axis=1)
    found = compare_divergences(
        read_columns(Study((as_paper(150, loss),)), Thresholds())
    )
    assert {one.published for one in found} == {425.0}
    assert len({one.name for one in found}) == 6


def test_epochs_the_paper_has_not_are_in_no_agreement():
    narrow = next(one for one in FIGURE_2 if one.width == 10)
    assert narrow.min_train_epoch == math.inf
    assert math.isnan(narrow.error("min_train_epoch"))
    found = compare_with_paper(
        read_columns(
            Study((as_paper(10, np.stack([collapsing(150)] * 2, 1)),)), Thresholds()
        )
    )
    epochs = [one for one in found if "epoch" in one.name]
    assert not any(one.is_within(0.25) for one in epochs)
    assert not any(math.isfinite(one.ratio) for one in epochs)  # not 0, either


def test_an_epoch_that_some_never_reach_is_no_mean_of_the_others():
    """Two of three rise, at 150 and 250; the third was watched to 400 in vain."""
    loss = np.stack([collapsing(150), collapsing(250), collapsing(1000)], axis=1)
    found = compare_divergences(
        read_columns(Study((as_paper(150, loss),)), Thresholds())
    )
    one = next(each for each in found if each.name == "2 times the minimum")
    assert (one.ours.n, one.replicas) == (2, 3)
    assert one.ours.mean == pytest.approx(220, abs=1)
    assert one.seen.median == pytest.approx(270, abs=1)
    assert math.isnan(one.ratio)
    said = {"ours": asdict(one.ours), "replicas": 3, "seen": asdict(one.seen)}
    assert say_epochs(said) == say_ours(said) == "median 270 (2 of 3)"


def test_the_minima_are_those_of_numpy_and_in_their_order():
    rng = np.random.default_rng(0)
    loss = collapsing(300)[:, None] * np.exp(0.1 * rng.normal(size=(401, 5)))
    found = find_minima(as_paper(150, loss))
    assert found.of_each.mean == pytest.approx(loss[1:].min(axis=0).mean())
    assert found.of_mean == pytest.approx(loss[1:].mean(axis=1).min())
    assert found.of_each.mean < found.of_mean < found.of_smooth
    assert found.of_smooth == pytest.approx(0.1, rel=0.1)
    assert found.fluctuation == pytest.approx(0.1, rel=0.25)


def test_only_the_papers_protocol_is_compared_with_it():
    paper = RunSpec(data={"name": "hasyv2"}, network={"widths": [150, 150]})
    assert follows_paper(paper)
    assert follows_paper(paper.with_settings({"mark.text": "a", "run.replicas": 3}))
    for change in (
        {"training.loss": "cross_entropy"},
        {"data.preprocessing": "inverted"},
        {"data.name": "mnist"},
        {"network.widths": [150, 100]},
        {"network.activation": "tanh"},
        {"initialization.name": "he_normal"},
    ):
        assert not follows_paper(paper.with_settings(change))


def test_an_evaluated_loss_is_compared_where_it_was_evaluated():
    running = np.stack([collapsing(300)] * 3, axis=1)
    evaluated = np.full_like(running, np.nan)
    evaluated[[200, 210]] = running[[200, 210]] * [1.1, 1.2, 1.6]
    assert compare_evaluated(as_paper(150, running)) is None
    run = as_paper(150, running)
    run.records["train_loss_evaluated"] = (("step", "replica"), evaluated)
    found = compare_evaluated(run)
    assert found.epochs == (200, 210)
    assert found.ratio.mean == pytest.approx(1.3)
    assert found.of_mean == pytest.approx(0.13)
