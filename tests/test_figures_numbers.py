"""What is drawn, against the weights themselves and plain NumPy."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from birthmark.analysis import (
    REGIMES,
    Study,
    Thresholds,
    deviation_at_loss,
    label_regimes,
    map_regimes,
    phase_diagram,
    read_columns,
    read_study,
    split_by_protocol,
)
from birthmark.figures import find_drawings
from birthmark.figures.captions import describe_protocol
from figures_store import EPOCHS, small_spec, write_store
from synthetic_records import make_run, make_spec

MARK = {"text": "a"}
LAX = Thresholds(reached=0.3, divergence=0.05)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    wide = {"network.widths": [32, 32]}
    marked = small_spec(mark=MARK)
    unmarked = small_spec(network__widths=[32, 32])
    specs = [marked, marked.with_settings(wide), unmarked]
    return write_store(tmp_path_factory.mktemp("figures") / "store", specs)


@pytest.fixture(scope="module")
def drawings(store):
    # of two with a number, the first: in Figure 1 the stable network
    return {drawing.number: drawing for drawing in find_drawings(store)[::-1]}


@pytest.fixture(scope="module")
def marked(store):
    """The study of the marked runs, which have two widths."""
    return split_by_protocol(read_study(store))[0]


def key_of(store, *, mark, width=32):
    specs = {key: store.spec(key) for key in store.runs()["run_key"]}
    (key,) = [
        key
        for key, spec in specs.items()
        if (spec.mark is not None) == mark and spec.network.widths[0] == width
    ]
    return key


def final_pair(store):
    """Initial and final weights, flat, of what is pooled: see `small_spec`."""
    key = key_of(store, mark=False)
    kept = [store.weights(key, epoch)["hidden2"].w for epoch in (0, EPOCHS)]
    return [w_RIO[:2].ravel() for w_RIO in kept]


def test_all_six_figures_are_drawn_in_the_order_of_the_paper(store):
    numbers = [drawing.number for drawing in find_drawings(store) if drawing.number]
    assert numbers == sorted(numbers)
    assert set(numbers) == {1, 2, 3, 4, 5, 6}


def test_a_picture_of_figure_1_is_the_matrix_that_was_kept(store, drawings):
    drawing = drawings[1]
    key = key_of(store, mark=True)
    assert key in drawing.text
    epochs, pictures = drawing.data["picture_epochs"], drawing.data["pictures"]
    assert epochs[0] == 0 and epochs[-1] == EPOCHS and 2 < len(epochs) <= 5
    kept = {epoch: store.weights(key, int(epoch))["hidden2"].w for epoch in epochs}
    replicas = [
        place
        for place in range(3)
        if all(
            (kept[e][place] == p).all() for e, p in zip(epochs, pictures, strict=True)
        )
    ]
    assert len(replicas) == 1
    records = store.records(key).isel(replica=replicas[0])
    np.testing.assert_array_equal(drawing.data["train_loss"], records["train_loss"])
    np.testing.assert_array_equal(drawing.data["test_loss"], records["test_loss"])


def test_the_retention_below_a_picture_is_the_area_under_its_roc_curve(drawings):
    data = drawings[1].data
    mask = data["pictures"][0] == 0
    assert 0.05 < mask.mean() < 0.5
    for picture, auc in zip(data["pictures"], data["retention"], strict=True):
        expected = roc_auc_score(mask.ravel(), -np.abs(picture).ravel())
        assert auc == pytest.approx(expected, abs=1e-6)
    for sizes, auc in zip(data["pooled"], data["pooled_retention"], strict=True):
        assert auc == pytest.approx(
            roc_auc_score(mask.ravel(), -sizes.ravel()), abs=1e-6
        )


def test_figure_1_shows_a_stable_and_an_unstable_network(store):
    stable, unstable = [one for one in find_drawings(store) if one.number == 1]
    assert stable.title == "The mark in a strong learner of width 32"
    assert unstable.title == "The mark in an unstable learner of width 12"


def test_figure_2_draws_the_phase_diagram_of_the_analysis(drawings, marked):
    data, phases = drawings[2].data, phase_diagram(read_columns(marked))
    assert data["axis"].tolist() == [12, 32]
    for name in ("min_train_epoch", "min_test_epoch", "divergence_epoch"):
        for row, estimate in zip(data[name], getattr(phases, name), strict=True):
            expected = [estimate.mean, estimate.low, estimate.high, estimate.n / 3]
            np.testing.assert_array_equal(row, expected)
    least = [run.values("train_loss")[1:].min(axis=0) for run in marked]
    logs = np.log(least)
    np.testing.assert_allclose(data["min_train_loss"][:, 0], np.exp(logs.mean(axis=1)))
    span = stats.t.interval(0.95, 2, logs.mean(axis=1), stats.sem(logs, axis=1))
    np.testing.assert_allclose(data["min_train_loss"][:, 1:3].T, np.exp(span))


def test_two_widths_are_no_phase_diagram(drawings):
    """Their losses and epochs are drawn, regions between them are not."""
    assert "No phase diagram" in drawings[2].caption
    phases = drawings[2].draw().axes[2]
    assert phases.get_ylabel() == "epoch"
    assert not phases.patches


def test_the_thick_curves_of_figure_2_are_geometric_means(store, drawings):
    records = store.records(key_of(store, mark=True))
    logs = np.log(records["test_loss"].transpose("step", "replica").to_numpy())
    curve = drawings[2].data["test_loss_mean_1"]
    np.testing.assert_allclose(curve, np.exp(logs.mean(axis=1)))


def test_the_regime_map_counts_the_labels_of_every_replica(marked):
    found = map_regimes(read_columns(marked, LAX))
    for place, run in enumerate(marked):
        regime_TR = label_regimes(run.records, run.spec, LAX).regime
        for epoch in range(EPOCHS + 1):
            labels = regime_TR[epoch].tolist()
            expected = [labels.count(i) for i in range(len(REGIMES))]
            assert found.counts[place, epoch].tolist() == expected
    assert found.majority[0, 0] == -1  # no train loss before the first epoch
    assert len(np.unique(found.majority)) > 2


def test_replicas_of_two_seeds_are_counted_together(store, marked, tmp_path):
    other = write_store(tmp_path / "b", [small_spec(mark=MARK, run__seed=1)])
    both = Study((*marked.runs, *read_study(other).runs))
    counts, first, second = (
        map_regimes(read_columns(one, LAX)).counts
        for one in (both, marked, read_study(other))
    )
    np.testing.assert_array_equal(counts[0], first[0] + second[0])


def test_the_density_of_figure_3_is_the_histogram_of_the_weights(store, drawings):
    data = drawings[3].data
    initial, final = final_pair(store)
    edges = [data["edges"].copy(), data["current_edges"]]
    edges[0][[0, -1]] = -np.inf, np.inf
    counts, *_ = np.histogram2d(initial, final, edges)
    area = np.diff(data["edges"])[:, None] * np.diff(data["current_edges"])
    np.testing.assert_allclose(data["density"], counts / len(initial) / area)


def test_the_slices_of_figure_3_are_histograms_that_integrate_to_one(store, drawings):
    data = drawings[3].data
    initial, final = final_pair(store)
    widths = np.diff(data["current_edges"])
    assert data["slices"].tolist() == [0, 20, 40]
    np.testing.assert_allclose(data["slice_density"] @ widths, 1)
    inside = np.abs(initial) < data["edges"][21]
    counts, _ = np.histogram(final[inside], data["current_edges"])
    np.testing.assert_allclose(data["slice_density"][1], counts / inside.sum() / widths)


def test_the_quantiles_of_figure_3_are_those_of_the_weights(store, drawings):
    data = drawings[3].data
    initial, final = final_pair(store)
    place = np.digitize(initial, data["edges"][1:-1])
    for m in (5, 20, 33):
        here = final[place == m]
        for level, found in zip(data["levels"], data["quantiles"][:, m], strict=True):
            exact = np.quantile(here, level, method="inverted_cdf")
            around = np.searchsorted(data["current_edges"], exact)
            width = np.diff(data["current_edges"])[around - 1]
            assert found == pytest.approx(exact, abs=1.01 * width)


def test_the_moments_of_figure_4_are_those_of_the_weights(store, drawings):
    data = drawings[4].data
    initial, final = final_pair(store)
    edges = drawings[3].data["edges"]
    place = np.digitize(initial, edges[1:-1])
    for m in range(41):
        deviation = (final - initial)[place == m]
        centred = deviation - deviation.mean()
        assert data["mean"][m] == pytest.approx(deviation.mean(), abs=1e-9)
        assert data["std"][m] == pytest.approx(deviation.std(), rel=1e-6)
        skewness = (centred**3).mean() / deviation.std() ** 3
        kurtosis = (centred**4).mean() / deviation.std() ** 4 - 3
        assert data["skewness"][m] == pytest.approx(skewness, abs=1e-6)
        assert data["kurtosis"][m] == pytest.approx(kurtosis, abs=1e-6)
        low, high = np.quantile(deviation, [0.1, 0.9])
        assert low < data["peak"][m] < high


def test_figure_3_pools_strong_replicas_and_says_so(drawings):
    for number in (3, 4):
        assert "over 2 of 3 replicas, strong learners" in drawings[number].caption


@pytest.mark.parametrize(("word", "width"), [("stable", 32), ("unstable", 12)])
def test_figure_5_draws_the_quantiles_of_the_deviation(store, drawings, word, width):
    drawing = drawings[5]
    said = re.search(rf"learner of width {width} \(replica (\d) of 3", drawing.caption)
    place, key = int(said[1]), key_of(store, mark=word == "unstable", width=width)
    assert key in drawing.text
    data = {
        name.removeprefix(f"{word}_"): values
        for name, values in drawing.data.items()
        if name.startswith(f"{word}_")
    }
    start = store.weights(key, 0)["hidden2"].w[place]
    for epoch in (5, EPOCHS):
        deviation = store.weights(key, epoch)["hidden2"].w[place] - start
        expected = np.quantile(deviation, data["levels"])
        at = data["quantile_epochs"].tolist().index(epoch)
        np.testing.assert_allclose(data["quantiles"][:, at], expected, atol=1e-9)
        assert data["std"][epoch] == pytest.approx(deviation.std())
    records = store.records(key).isel(replica=place)
    np.testing.assert_array_equal(data["test_loss"], records["test_loss"])


def test_figure_5_has_no_gaps_where_the_deviation_was_recorded_rarely(tmp_path):
    rare = small_spec(record__epochs=[4, 9, 20], training__epochs=24)
    found = find_drawings(write_store(tmp_path, [rare]))
    data = next(one for one in found if one.number == 5).data
    for word in data["columns"].tolist():
        assert data[f"{word}_quantile_epochs"].tolist() == [0, 4, 9, 20, 24]
        assert np.isfinite(data[f"{word}_std"]).all()
        assert len(data[f"{word}_std"]) == 5


def test_figure_5_sets_an_unstable_network_beside_a_stable_one(store, drawings):
    data = drawings[5].data
    assert data["columns"].tolist() == ["stable", "unstable"]
    said = [data[f"{word}_said"].item() for word in ("stable", "unstable")]
    assert said == ["strong learner, width 32", "unstable learner, width 12"]
    assert np.isfinite(data["unstable_transitions"]).any()


def test_figure_6_draws_the_deviations_at_equal_loss_of_the_analysis(drawings, marked):
    data = drawings[6].data
    for measure in ("deviation_std", "distance", "spectral_distance"):
        found = deviation_at_loss(marked, data["losses"], measure=measure)
        np.testing.assert_array_equal(data[f"{measure}_values"], found.values)
        share = found.reached / found.replicas
        np.testing.assert_array_equal(data[f"{measure}_share"], share)
        for row, law in zip(data[f"{measure}_fits"], found.fits, strict=True):
            expected = [law.exponent, law.low, law.high, law.intercept]
            np.testing.assert_array_equal(row, expected)
    logs = np.log(data["distance_values"])
    np.testing.assert_allclose(
        data["distance_mean"][0], np.exp(np.nanmean(logs, axis=-1))
    )


def test_figure_6_has_no_panel_of_a_norm_that_was_never_measured(drawings):
    drawing = drawings[6]
    before = len(drawing.draw("light").axes)
    data = {
        name: np.full(array.shape, np.nan) if name.startswith("spectral") else array
        for name, array in drawing.data.items()
    }
    figure = replace(drawing, data=data).draw("light")
    assert len(figure.axes) == before - 1 == 2


def test_captions_name_protocol_replicas_and_runs(store, drawings):
    for drawing in drawings.values():
        for words in (
            *("digits", "pixels over the full scale", "300 training"),
            *("float64", "full precision"),
            *("lipped cross entropy (eps 1e-07)", "sgd, lr 0.6, batch 32, 30 epochs"),
            *("glorot_uniform", "biases zeros", "relu", "n = 3"),
        ):
            assert words in drawing.text, (drawing.name, words)
        assert "interval" in drawing.caption or "standard error" in drawing.caption
        assert "\n" not in drawing.text
    for key in (key_of(store, mark=True, width=w) for w in (12, 32)):
        assert key in drawings[2].text and key in drawings[6].text
    assert key_of(store, mark=False) in drawings[3].text


def test_captions_say_how_a_stream_was_shuffled():
    facts = {"data.num_train": 300, "data.num_test": 60}
    losses = np.ones((401, 5))
    plain, buffered = (
        describe_protocol([make_run(make_spec(**settings), losses, **facts)])
        for settings in ({}, {"training__shuffle_buffer": 2_000})
    )
    assert "order of batches." in plain
    assert "order of batches, shuffled in a buffer of 2,000." in buffered
