"""The abandonment experiment: times read from curves, and examples followed by one."""

import numpy as np
import pytest
import xarray as xr
from scipy.special import log_softmax

from birthmark.data import load_dataset
from birthmark.experiments.abandonment import (
    EXPERIMENT,
    find_collapse,
    find_death,
    find_onset,
)
from birthmark.experiments.abandonment_examples import (
    count_ambiguous,
    find_odd_neighbours,
    follow_examples,
)
from birthmark.experiments.abandonment_facts import _enrichment, _find_first, _slope
from birthmark.experiments.abandonment_runs import PROTOCOLS, spec_of
from birthmark.figures import draw_experiment
from birthmark.shapes import Dataset
from birthmark.store import open_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("abandonment")


@pytest.fixture(scope="module")
def results(folder) -> xr.Dataset:
    return EXPERIMENT.measure("quick", folder)


def test_examples_below_the_clip_are_those_of_a_forward_pass_by_hand(folder, results):
    store, spec = open_store(folder / "store"), spec_of(PROTOCOLS["quick"], 1e-7)
    dataset = load_dataset(spec.data)
    x = dataset.x_train / dataset.full_scale
    epoch = store.weights_epochs(spec.run_key)[2]
    assert epoch == 10  # where hard examples are told
    a = np.broadcast_to(x, (3, *x.shape)).astype(np.float64)
    weights = store.weights(spec.run_key, epoch)
    for name, layer in weights.items():
        a = a @ layer.w + layer.b[:, None]
        a = a if name == "output" else np.maximum(a, 0)
    losses = -log_softmax(a, axis=-1)[:, np.arange(len(x)), dataset.y_train]
    np.testing.assert_allclose(results["early_loss"], losses, rtol=1e-3, atol=1e-4)
    wide = spec.with_settings({"training.eps": 0.2})

    class Renamed:  # the same weights, looked at with a clip that some are below
        weights_epochs = staticmethod(lambda key: store.weights_epochs(spec.run_key))
        weights = staticmethod(lambda key, epoch: store.weights(spec.run_key, epoch))

    found = follow_examples(Renamed(), wide, dataset)
    below = (losses > -np.log(0.2)).sum(axis=1)
    np.testing.assert_array_equal(found["num_below"].sel(followed_epoch=10), below)


def test_the_first_epochs_of_onset_collapse_and_death_are_found_in_made_curves():
    epochs = np.arange(1, 201)
    accuracy = np.where(epochs < 100, 0.9, 0.5)[:, None]
    assert find_collapse(accuracy) == pytest.approx(100, abs=1)
    assert np.isnan(find_collapse(np.full((200, 1), 0.9)))
    assert np.isnan(find_collapse(np.linspace(0, 0.9, 200)[:, None]))  # still learns
    assert find_onset(np.where(epochs < 50, 0.01, 0.06)[:, None]) == 50
    loss = np.where(epochs < 100, 0.5, np.log(10))[:, None]
    dead = np.where(epochs < 100, 0.9, 0.1)[:, None]
    assert find_death(loss, dead, 10) == 100
    assert np.isnan(find_death(loss * 5, dead, 10))  # abandoned, not dead
    never = np.full((200, 1), np.log(10))
    assert np.isnan(find_death(never, np.full((200, 1), 0.1), 10))  # never learned


def test_odd_neighbours_and_ambiguous_images_are_those_of_a_search_by_hand():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (60, 70)).astype(np.uint8)
    x[1] = x[0]
    x[5] = x[4]
    y = rng.integers(0, 3, 60)
    y[:2], y[4:6] = (0, 1), (2, 2)
    d = Dataset("made", x, y, x[:1], y[:1], 3, (7, 10), 255)
    assert count_ambiguous(d) == 2
    # 59 differences span at most 59 < 64 directions: the components lose nothing
    distances = ((x[:, None].astype(float) - x[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(
        find_odd_neighbours(d), y[distances.argmin(axis=1)] != y
    )


def test_an_enrichment_is_the_ratio_of_two_shares():
    has = np.zeros((2, 100), bool)
    has[:, :20] = True
    early = np.zeros((2, 100), bool)
    early[:, [0, 1, 2, 3, 50, 51]] = True  # 4 of 20 against 2 of 80
    found = _enrichment(early, has)
    assert found["ratio"]["mean"] == pytest.approx((4 / 20) / (2 / 80))


def test_the_first_are_those_of_the_earliest_epochs_that_together_are_few():
    first = np.full(100, -1)
    first[:4], first[4:9], first[9:80] = 20, 35, 40  # 9 %, then a spike
    assert _find_first(first).nonzero()[0].tolist() == list(range(9))


def test_the_slope_is_that_of_onsets_that_lie_on_a_line():
    made = xr.Dataset(
        {
            "eps": ("clip", [1e-3, 1e-5, 1e-7, 1e-12]),
            "onset": (
                ("clip", "replica"),
                [[80.0, 82], [160, 166], [240, 250], [np.nan, np.nan]],
            ),
        },
        {"clip": ["0.001", "1e-05", "1e-07", "1e-12"]},
    )
    found = _slope(made, 300)
    assert found["epochs"]["mean"] == pytest.approx(41)
    assert found["residual"] == pytest.approx(0, abs=1e-9)
    assert found["clips"] == ["0.001", "1e-05", "1e-07"]
    [unseen] = found["unseen"]
    assert unseen["epoch"]["mean"] == pytest.approx((440 + 460) / 2)


def test_arms_share_their_first_epochs_until_an_example_is_abandoned(results):
    # a clip that nothing is below changes nothing: the same network to rounding
    quiet = results.sel(clip=["1e-07", "logits"], epoch=slice(1, 2))
    assert not quiet["below_eps"].any()
    np.testing.assert_allclose(
        quiet["train_loss"].sel(clip="1e-07"),
        quiet["train_loss"].sel(clip="logits"),
        rtol=1e-4,
    )
    wide = results["below_eps"].sel(clip="0.1")
    assert (wide > 0).any()


def test_results_are_summarized_and_drawn(results):
    facts = EXPERIMENT.summarize(results)
    assert facts["num_replicas"] == 3
    assert set(facts["clips"]) == {"0.1", "0.01", "1e-07", "logits"}
    assert facts["clips"]["logits"]["num_onset"] == 0  # nothing is clipped there
    drawing = draw_experiment("abandonment", results)
    assert drawing.render("svg").startswith(b"<?xml")
