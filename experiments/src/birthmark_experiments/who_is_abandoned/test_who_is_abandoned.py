"""Who is abandoned: traits, stages and ratios against counts by hand."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.special import log_softmax
from torch import nn

import by_hand
from birthmark.data import load_dataset
from birthmark.seeds import batch_order
from birthmark.shapes import Dataset
from birthmark.spec import DataSpec
from birthmark.store import open_shipped, open_store
from birthmark_experiments import shipped_results
from birthmark_experiments.abandonment import contradictions
from birthmark_experiments.abandonment.contradictions import (
    count_labels,
    find_neighbours,
)
from birthmark_experiments.who_is_abandoned import EXPERIMENT
from birthmark_experiments.who_is_abandoned.facts import WITH, WITHOUT
from birthmark_experiments.who_is_abandoned.measure import count_contradictions
from birthmark_experiments.who_is_abandoned.protocol import find_protocol
from birthmark_experiments.who_is_abandoned.traits import (
    STAGES,
    bootstrap_ratio,
    find_rare,
    find_stages,
    find_traits,
)


@pytest.fixture(scope="module")
def store(folder, results):
    return open_store(folder / "store")


@pytest.fixture(scope="module")
def logits_by_hand(store, results):
    """In float64 with NumPy, [T, R, N, K], and the training half."""
    spec = find_protocol("quick").spec
    dataset = load_dataset(spec.data)
    x = dataset.x_train / dataset.full_scale
    found = [
        by_hand.logits(x, by_hand.kept(store, spec.run_key, int(epoch)))
        for epoch in results["kept_epoch"]
    ]
    return np.array(found), dataset


@pytest.fixture(scope="module")
def losses_by_hand(logits_by_hand):
    """[T, R, N], and the classes."""
    z_TRNK, dataset = logits_by_hand
    y = dataset.y_train
    return -log_softmax(z_TRNK, axis=-1)[..., np.arange(len(y)), y], y


def made(images, labels) -> Dataset:
    x = np.array(images, dtype=np.uint8)
    y = np.array(labels)
    return Dataset("made", x, y, x[:1], y[:1], int(y.max()) + 1, (1, x.shape[1]), 255)


def test_losses_and_counts_are_those_of_a_forward_pass_by_hand(results, losses_by_hand):
    losses_TRN, y_N = losses_by_hand
    top = -np.log(0.1)
    clipped_TRN, below_TRN = np.minimum(losses_TRN, top), losses_TRN > top
    assert results["kept_epoch"][1] == find_protocol("quick").early
    hard_RN = losses_TRN[1] >= np.quantile(losses_TRN[1], 0.9, axis=1)[:, None]
    assert (hard_RN[0] != hard_RN[1]).sum() > 10
    # an example at the clip itself may fall on either side by rounding
    near = (np.abs(losses_TRN - top) < 1e-4).sum(axis=2)
    assert near.max() <= 1
    for trait, has_RN in (("all", np.ones_like(hard_RN)), ("hard", hard_RN)):
        found = results.sel(trait=trait)
        means = (clipped_TRN * has_RN).sum(axis=2) / has_RN.sum(axis=1)
        assert_allclose(found["mean_loss"], means, rtol=1e-4)
        off = found["num_below"].to_numpy() - (has_RN & below_TRN).sum(axis=2)
        assert (np.abs(off) <= near).all()
        sizes = [np.bincount(y_N[one], minlength=10) for one in has_RN]
        assert_array_equal(found["num_risk"].sel(stage="early"), sizes)


def test_each_example_is_first_abandoned_once_and_at_risk_until_then(
    results, losses_by_hand
):
    ever = (losses_by_hand[0] > -np.log(0.1)).any(axis=0)
    every = results.sel(trait="all").transpose("stage", "replica", "class", ...)
    total = every["num_first"].sum(("stage", "class")).to_numpy()
    assert np.abs(total - ever.sum(axis=1)).max() <= 1
    risk, first = (every[name].to_numpy() for name in ("num_risk", "num_first"))
    assert_array_equal(risk[1:], risk[:-1] - first[:-1])


def test_who_is_below_is_followed_to_the_next_kept_epoch(results, losses_by_hand):
    below_TRN = losses_by_hand[0] > -np.log(0.1)
    again_TRN = below_TRN[:-1] & below_TRN[1:]
    early_RN = below_TRN[:2].any(axis=0)
    assert (below_TRN & early_RN).sum(axis=2).max() > 20
    early, every = results.sel(stage="early"), results.sum("stage")
    for name, found, expected_TRN in (
        ("num_still", early, below_TRN & early_RN),
        ("num_stay", early, again_TRN & early_RN),
        ("num_stay", every, again_TRN),
    ):
        expected = expected_TRN.sum(axis=2)
        off = found[name].to_numpy()[: len(expected)] - expected
        assert np.abs(off).max() <= 2, name
    assert not every["num_stay"][-1].any()
    assert_array_equal(every["num_still"], results["num_below"].sel(trait="all"))


def test_a_ratio_is_of_those_with_a_trait_over_those_without_it(results):
    early = results.sel(stage="early", trait=["all", "odd"]).sum(("replica", "class"))
    (of_all, of_odd), (all_at_risk, odd_at_risk) = (
        early[name].to_numpy() for name in ("num_first", "num_risk")
    )
    assert of_odd > 0
    others = (of_all - of_odd) / (all_at_risk - odd_at_risk)
    found = results["ratio"].sel(bound="value", stage="early", trait="odd")
    assert float(found) == pytest.approx(of_odd / odd_at_risk / others)


def test_curves_stand_at_the_epochs_they_belong_to(results, store):
    key = find_protocol("quick").spec.run_key
    start = store.weights(key, 0)["hidden2"].w
    records = store.records(key, distributions=False).swap_dims(step="epoch")
    for epoch in (1, 7, 12):
        found = results.sel(epoch=epoch)
        way = store.weights(key, epoch)["hidden2"].w.astype(float) - start
        assert_allclose(found["deviation"], way.std(axis=(1, 2)), rtol=1e-5)
        one = records.sel(epoch=epoch)
        assert_allclose(
            found["abandoned"] * results.attrs["num_examples"], one["abandoned"], 1e-6
        )
        assert_allclose(found["train_loss"], one["train_loss"], rtol=1e-6)


def test_without_those_abandoned_early_it_is_plain_training_on_the_others(
    results, store, losses_by_hand
):
    spec = find_protocol("quick").spec
    losses_TRN, y_N = losses_by_hand
    kept_N = ~(losses_TRN[1] > -np.log(0.1)).all(axis=0)
    size, count = spec.training.batch_size, len(y_N)
    assert 0 < (~kept_N).sum() == results.attrs["num_common"]
    dataset = load_dataset(spec.data)
    x_N = torch.from_numpy(dataset.x_train / dataset.full_scale).float()
    start = [layer for _, layer in store.weights(spec.run_key, 0).items()]
    layers = [nn.Linear(*layer.w[1].shape) for layer in start]
    for linear, layer in zip(layers, start, strict=True):
        linear.weight.data = torch.from_numpy(layer.w[1].T.copy())
        linear.bias.data = torch.from_numpy(layer.b[1].copy())
    network = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    sgd = torch.optim.SGD(network.parameters(), lr=spec.training.lr)
    for epoch in range(2):
        order = batch_order(spec.run.seed, 1, epoch, count)
        visited = order[kept_N[order]]
        visited = visited[: len(visited) - (len(visited) - count) % size]
        total = 0.0
        for batch in torch.as_tensor(visited).split(size):
            p = network(x_N[batch]).softmax(1)
            p = p[torch.arange(len(batch)), torch.as_tensor(y_N[batch.numpy()])]
            losses = -p.clamp(0.1, 0.9).log()
            sgd.zero_grad()
            losses.mean().backward()
            sgd.step()
            total += float(losses.detach().sum())
        found = results["every_train_loss"].sel(trained=WITHOUT, replica=1)
        assert found[epoch] == pytest.approx(total / len(visited), rel=1e-4)
    records = store.records(spec.run_key, distributions=False)
    every = results["every_train_loss"].sel(trained=WITH)
    assert_allclose(every, records["train_loss"][1:], rtol=1e-6)


def test_pictures_show_the_label_and_the_class_given_at_their_easiest(
    results, logits_by_hand, losses_by_hand
):
    (z_TRNK, dataset), (losses_TRN, y_N) = logits_by_hand, losses_by_hand
    common = (losses_TRN[1] > -np.log(0.1)).all(axis=0)
    assert results.attrs["num_common"] == common.sum()
    loss_N, given_N = losses_TRN[1].mean(axis=0), z_TRNK[1, 0].argmax(axis=1)
    shown = set()
    for picture in results["picture"].transpose("shown", "row", "pixel").to_numpy():
        [n] = np.flatnonzero((dataset.x_train == picture[0]).all(axis=1))
        assert common[n]
        shown.add(n)
        for row, label in ((1, y_N[n]), (2, given_N[n])):
            members = [m for m in range(len(y_N)) if y_N[m] == label]
            easiest = min(members, key=lambda m: loss_N[m])
            assert_array_equal(picture[row], dataset.x_train[easiest])
    assert len(shown) == min(12, common.sum())


def test_labels_of_equal_images_are_counted_as_by_hand():
    a, b, c, d = [0, 0], [9, 0], [0, 9], [9, 9]
    dataset = made([a, a, a, b, b, c, c, d, d, d, d], [0, 0, 1, 2, 2, 0, 1, 0, 0, 1, 1])
    found = count_labels(dataset)
    assert found.own.tolist() == [2, 2, 1, 2, 2, 1, 1, 2, 2, 2, 2]
    assert found.all.tolist() == [3, 3, 3, 2, 2, 2, 2, 4, 4, 4, 4]
    assert found.most.tolist() == [2, 2, 2, 2, 2, 1, 1, 2, 2, 2, 2]
    assert found.contradicts.tolist() == [True] * 3 + [False] * 2 + [True] * 6
    assert found.is_tied.tolist() == [False] * 5 + [True] * 6
    beside_a_tie = count_labels(made([a] * 5, [0, 0, 1, 1, 2]))
    assert beside_a_tie.is_tied.tolist() == [True] * 4 + [False]


def test_what_contradictions_cost_is_the_entropy_of_their_labels():
    a, b, c, d = [0, 0], [9, 0], [0, 9], [9, 9]
    found = count_contradictions(
        made([a, a, a, b, b, c, c, d, d, d, d], [0, 0, 1, 2, 2, 0, 1, 0, 0, 1, 1])
    )
    third, half = 3 * stats.entropy([2, 1]), np.log(2)
    assert found == pytest.approx(
        {
            "num_images": 3,
            "num_contradictory": 9,
            "num_outvoted": 1,
            "num_tied": 6,
            "least_share": 1 / 3,
            "floor": third + 6 * half,
            "tied_floor": 6 * half,
        }
    )
    none = count_contradictions(made([a, b], [0, 1]))
    assert np.isnan(none.pop("least_share"))
    assert not any(none.values())


def test_outvoted_is_who_has_fewer_and_tied_who_has_as_many_as_any():
    x = np.repeat([[0], [40], [80]], [3, 4, 20], axis=0) * np.ones((1, 2))
    found = find_traits(
        made(x, [0, 0, 1, 0, 0, 1, 1, *[2] * 20]), np.arange(27.0)[None]
    )
    assert found["contradictory"][0].nonzero()[0].tolist() == list(range(7))
    assert found["outvoted"][0].nonzero()[0].tolist() == [2]
    assert found["tied"][0].nonzero()[0].tolist() == [3, 4, 5, 6]


def test_neighbours_are_those_of_all_distances_of_the_pixels(monkeypatch):
    monkeypatch.setattr(contradictions, "_BLOCK", 16)  # of 60: the last is smaller
    rng = np.random.default_rng(1)
    dataset = made(rng.integers(0, 255, (60, 70)), rng.integers(0, 3, 60))
    distances = ((dataset.x_train[:, None].astype(float) - dataset.x_train) ** 2).sum(2)
    np.fill_diagonal(distances, np.inf)
    # 59 differences span at most 59 < 64 directions: the components lose nothing
    assert_array_equal(find_neighbours(dataset, 4), distances.argsort(axis=1)[:, :4])


def test_traits_are_those_that_their_words_say():
    # pairs on a line: equal with one label, near with two, far with two
    x = np.repeat([[0], [40], [100], [130], [210], [250]], 2, axis=0) * np.ones((1, 9))
    x[3] += 4  # 4 of 255 are 1.6 %
    x[5] += 6  # 2.4 %
    y = np.array([0, 0, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1])
    x[8:10] = 210  # equal, with two labels
    dataset = made(x, y)
    x4, x6 = x[3, 0] - x[2, 0], x[5, 0] - x[4, 0]
    assert (x4, x6) == (4, 6)
    y_swapped = y.copy()
    y_swapped[3] = 2
    found = find_traits(made(x, y_swapped), np.arange(24.0).reshape(2, 12))
    assert found["contradictory"][0].nonzero()[0].tolist() == [8, 9]
    assert found["near"][0].nonzero()[0].tolist() == [2, 3]  # not equal, not too far
    assert found["odd"][0].nonzero()[0].tolist() == [2, 3, 4, 5, 8, 9]
    # class 2 has one example and twelve have many neighbours of the others
    assert found["alone"][0].nonzero()[0].tolist() == [3]
    assert found["hard"].sum(axis=1).tolist() == [2, 2]
    assert found["hard"][1].nonzero()[0].tolist() == [10, 11]
    assert dataset.y_train[3] == 0


def test_rare_are_the_smallest_classes_that_hold_a_tenth_together():
    y = np.repeat(np.arange(5), [60, 4, 25, 6, 5])
    assert np.unique(y[find_rare(y)]).tolist() == [1, 4]  # with the six they were more
    assert not find_rare(np.repeat([0, 1], 50)).any()


def test_stages_are_told_by_the_first_epoch_below_the_clip():
    below_TRN = np.zeros((5, 1, 40), bool)
    epochs = np.array([5, 20, 100, 200, 300])
    below_TRN[1:, 0, 0] = True  # early; 1 of 40 is 2.5 %
    below_TRN[2, 0, 0] = False  # comes back for a while
    below_TRN[2, 0, 1] = True  # before
    below_TRN[3, 0, 2:4] = True  # onset: 3 of 40
    below_TRN[4, 0, 4:10] = True
    stages = find_stages(below_TRN, epochs, early=20, onset=0.05)[0]
    assert stages[:11].tolist() == [0, 1, 2, 2, 3, 3, 3, 3, 3, 3, -1]
    none = find_stages(below_TRN[:3], epochs[:3], early=20, onset=0.05)[0]
    assert none[:4].tolist() == [0, 1, -1, -1]  # no onset: all others are before
    assert STAGES == ("early", "before", "onset", "after")


def test_a_ratio_and_its_interval_are_those_of_the_delta_method():
    rng = np.random.default_rng(2)
    risk = rng.integers(200, 400, (2, 300))
    first = rng.binomial(risk, [[0.1], [0.05]])
    found = bootstrap_ratio(
        np.stack([first[0], risk[0]]), np.stack([first[1], risk[1]])
    )
    shares = first.sum(axis=1) / risk.sum(axis=1)
    assert found[0] == pytest.approx(shares[0] / shares[1])
    # linearized: the logarithm moves with the residuals of each class
    moves = (first - shares[:, None] * risk) / first.sum(axis=1)[:, None]
    spread = np.sqrt(((moves[0] - moves[1]) ** 2).sum())
    assert_allclose(
        np.log(found[1:] / found[0]), [-1.96 * spread, 1.96 * spread], rtol=0.1
    )


def test_results_are_summarized_and_drawn(results, facts):
    every = results.sel(trait="all")["num_first"]
    early = every.sel(stage="early").sum("class").to_numpy()
    assert facts["stages"]["early"]["mean"] == pytest.approx(early.mean())
    odd = facts["traits"]["odd"]["stages"]["before"]
    with_odd = results.sel(trait="odd", stage="before")
    expected = with_odd["num_first"].sum() / with_odd["num_risk"].sum()
    assert odd["with"] == pytest.approx(float(expected))
    assert facts["traits"]["hard"]["stages"]["early"] is None
    assert EXPERIMENT.draw(results).draw().axes


def test_shipped_counts_of_a_frozen_network_are_those_of_its_training():
    """The engine counted them as they were visited; here a forward pass afterwards."""
    results = shipped_results("who-is-abandoned")
    store = open_shipped("paper")
    [key] = [
        key
        for key in store.runs()["run_key"]
        if store.spec(key).network.widths == (150, 150)
        and store.spec(key).training.loss == "clipped_cross_entropy"
        and store.spec(key).data.name == "hasyv2"
    ]
    visited = store.records(key, distributions=False)["abandoned"].to_numpy()
    frozen = np.ptp(visited[580:601], axis=0) == 0
    assert frozen.any()
    below = results["num_below"].sel(trait="all", kept_epoch=590).to_numpy()
    assert_array_equal(below[frozen], visited[590][frozen])
    # and before, within what an epoch changes
    early = results["num_below"].sel(trait="all", kept_epoch=20).to_numpy()
    assert_allclose(early, visited[20], rtol=0.15)


def test_shipped_contradictions_are_those_of_a_dictionary_of_the_images(real_data):
    results = shipped_results("who-is-abandoned")
    dataset = load_dataset(DataSpec(name="hasyv2"))
    labels_of: dict[bytes, list[int]] = {}
    for image, label in zip(dataset.x_train, dataset.y_train.tolist(), strict=True):
        labels_of.setdefault(image.tobytes(), []).append(label)
    several = [one for one in labels_of.values() if len(set(one)) > 1]
    assert results.attrs["num_images"] == len(several)
    assert results.attrs["num_contradictory"] == sum(map(len, several))
    # the entropy of the labels of an image, once for each of its examples
    floor = sum(len(one) * stats.entropy(np.bincount(one)) for one in several)
    assert results.attrs["floor"] == pytest.approx(floor)
    counted = [sorted(np.unique(one, return_counts=True)[1]) for one in several]
    outvoted = [sum(n for n in one if n < one[-1]) for one in counted]
    assert results.attrs["num_outvoted"] == sum(outvoted)
    tied = [one.count(one[-1]) * one[-1] for one in counted if one[-2] == one[-1]]
    assert results.attrs["num_tied"] == sum(tied)
    least = min(one[0] / sum(one) for one in counted)
    assert results.attrs["least_share"] == pytest.approx(least)
    risk = results["num_risk"].sel(stage="early", trait="all").to_numpy()
    assert (risk == np.bincount(dataset.y_train)).all()
