"""Pre-trained starts: what each start takes over, and paired outcomes that ship."""

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from birthmark.analysis import Candidate, make_comparison
from birthmark.data import load_dataset
from birthmark.spec import RunSpec
from birthmark.store import load_results, open_store, save_results
from birthmark.training import initial_configuration
from birthmark_experiments.frame.comparisons import record_comparison, run_comparison
from birthmark_experiments.frame.rankings import difference, read_rankings, tabulate
from birthmark_experiments.pretrained_start import EXPERIMENT
from birthmark_experiments.pretrained_start.measure import (
    FRESH_HEAD,
    PRETRAINED,
    RANDOM,
    SHUFFLED,
    STATISTICS,
    other_classes,
)
from birthmark_experiments.pretrained_start.protocol import list_tasks


@pytest.fixture(scope="module")
def trained(folder, results) -> dict[str, np.ndarray]:
    with np.load(folder / "before-digits-halves.npz") as file:
        return dict(file)


def specs_in(folder) -> dict[str, RunSpec]:
    """The five runs, told apart by the rules of their hidden and output layers."""
    store = open_store(folder)
    specs = [store.spec(key) for key in store.runs()["run_key"]]

    def name(spec: RunSpec) -> str:
        rule = spec.initialization
        if rule.name == "checkpoint":
            return FRESH_HEAD if rule.layers else PRETRAINED
        names = {"statistics_only": STATISTICS, "shuffled": SHUFFLED}
        return names.get(rule.name, RANDOM)

    return {name(spec): spec for spec in specs}


def start_of(folder, name: str):
    return initial_configuration(specs_in(folder)[name])


def test_the_five_starts_are_trained_and_differ_in_their_rules_alone(folder, results):
    specs = specs_in(folder)
    assert set(specs) == set(results["initialization"].to_numpy()) and len(specs) == 5
    plain = RunSpec(data={"name": "digits"}).initialization
    assert (
        len({s.model_copy(update={"initialization": plain}) for s in specs.values()})
        == 1
    )


def test_a_pretrained_start_is_where_the_first_task_ended(folder, trained):
    whole, fresh = start_of(folder, PRETRAINED), start_of(folder, FRESH_HEAD)
    for name, layer in whole.items():
        assert_array_equal(layer.w, trained[f"{name}.w"])
        assert_array_equal(layer.b, trained[f"{name}.b"])
        if name != "output":
            assert_array_equal(fresh[name].w, trained[f"{name}.w"])
    random = start_of(folder, RANDOM)
    assert_array_equal(fresh["output"].w, random["output"].w)
    assert (fresh["output"].b == 0).all()


def test_the_controls_keep_statistics_or_entries_and_not_the_places(folder, trained):
    statistics, shuffled = start_of(folder, STATISTICS), start_of(folder, SHUFFLED)
    w = trained["hidden1.w"]
    for replica in range(3):
        drawn, moved = statistics["hidden1"].w[replica], shuffled["hidden1"].w[replica]
        spread = w[replica].std()
        assert (
            abs(float(drawn.mean()) - w[replica].mean())
            < 5 * spread / drawn.numel() ** 0.5
        )
        assert float(drawn.std()) == pytest.approx(spread, rel=0.2)
        assert_allclose(
            np.sort(moved, axis=None), np.sort(w[replica], axis=None), rtol=1e-6
        )
        for other in (drawn, moved):
            correlation = np.corrcoef(other.ravel(), w[replica].ravel())[0, 1]
            assert abs(correlation) < 5 / other.numel() ** 0.5


def test_the_first_training_began_with_other_numbers_than_any_second_one(
    folder, trained
):
    before = trained["hidden1.w"][0].ravel()
    second = start_of(folder, RANDOM)["hidden1"].w[0].ravel()
    # a short training moves little: from the same draw they would be near to equal
    assert abs(np.corrcoef(before, second)[0, 1]) < 5 / second.numel() ** 0.5


def test_the_first_task_has_the_other_classes(results):
    [task] = list_tasks("quick")
    other, whole = other_classes(task), load_dataset("digits")
    assert set(other.y_train) == set(range(5)) and other.num_classes == 5
    assert_array_equal(other.x_test, whole.x_test[whole.y_test >= 5])
    assert_array_equal(other.y_test + 5, whole.y_test[whole.y_test >= 5])


def test_starts_have_the_norms_that_are_told(folder, results):
    for name in (RANDOM, PRETRAINED):
        start = start_of(folder, name)
        norms = np.sqrt(
            sum(
                (layer.w.double().numpy() ** 2).sum(axis=(1, 2))
                for _, layer in start.items()
            )
        )
        told = results["start_norm"].isel(task=0).sel(initialization=name)
        assert_allclose(told, norms, rtol=1e-4)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    spec = RunSpec(
        data={"name": "digits"},
        network={"widths": [8]},
        training={"loss": "cross_entropy", "lr": 0.3, "batch_size": 50, "epochs": 3},
        run={"replicas": 4, "device": "cpu"},
        record={"distributions": []},
    )
    specs = {
        name: spec.with_settings({"initialization": {"name": name}})
        for name in ("he_normal", "zeros", "dct")
    }
    store = open_store(tmp_path_factory.mktemp("comparison"), create=True)
    recorded = run_comparison(specs, store)
    candidates = [
        Candidate(name, one, store.records(one.run_key), one.run_key)
        for name, one in specs.items()
    ]
    return make_comparison(candidates), recorded


def test_rankings_come_back_from_a_file_as_they_were(comparison, tmp_path):
    made, recorded = comparison
    save_results(tmp_path, recorded, {})
    read = read_rankings(load_results(tmp_path)[0])
    assert len(read) == len(made.rankings)
    for found, ranking in zip(read.values(), made.rankings, strict=True):
        assert found.outcome.title == ranking.outcome.title
        assert [s.name for s in found.standings] == [s.name for s in ranking.standings]
        assert [s.letters for s in found.standings] == [
            s.letters for s in ranking.standings
        ]
        assert [p.p_holm for p in found.pairs] == [p.p_holm for p in ranking.pairs]
        assert [s.num_censored for s in found.standings] == [
            s.num_censored for s in ranking.standings
        ]
    xr.testing.assert_identical(recorded, record_comparison(made))


def test_differences_are_paired_and_signed(comparison):
    _, recorded = comparison
    ranking = read_rankings(recorded)["mean_test_loss"]
    values = recorded["result"].sel(outcome="mean_test_loss")
    a, b = values.sel(initialization="dct"), values.sel(initialization="he_normal")
    test = stats.ttest_rel(a, b)
    found = difference(ranking, "dct", "he_normal")
    assert found["mean"] == pytest.approx(float((a - b).mean()))
    span = test.confidence_interval(1 - 0.05 / 3)  # three pairs, Bonferroni
    assert [found["low"], found["high"]] == pytest.approx([span.low, span.high])
    other = difference(ranking, "he_normal", "dct")
    assert other["mean"] == -found["mean"] and other["low"] == -found["high"]


def test_tables_have_the_mean_and_the_best_first(comparison):
    _, recorded = comparison
    table = tabulate(read_rankings(recorded)["test_accuracy"])
    means = [row["mean"] for row in table.values()]
    assert means == sorted(means, reverse=True)
    found = recorded["test_accuracy"].sel(initialization="dct")[-1]
    assert table["dct"]["mean"] == pytest.approx(float(found.mean()))


def test_shipped_controls_have_the_norm_of_what_they_control(shipped):
    norm = shipped["start_norm"]
    fresh = norm.sel(initialization=FRESH_HEAD)
    assert_allclose(norm.sel(initialization=SHUFFLED), fresh, rtol=1e-3)
    assert_allclose(norm.sel(initialization=STATISTICS), fresh, rtol=1e-2)


def test_shipped_replicas_start_as_a_guess_and_end_better(shipped):
    start, end = (
        shipped["test_accuracy"].isel(epoch=0),
        shipped["test_accuracy"][..., -1, :],
    )
    assert (start < 0.3).all() and (end > 0.6).all()


def test_shipped_facts_are_those_of_scipy(shipped):
    facts = EXPERIMENT.summarize(shipped)
    for task in facts["tasks"]:
        values = shipped["result"].sel(task=task["name"], outcome="test_accuracy")
        a, b = (values.sel(initialization=name) for name in (FRESH_HEAD, RANDOM))
        span = stats.ttest_rel(a, b).confidence_interval(1 - 0.05 / 10)
        found = task["differences"]["test_accuracy"]["pre-trained against random"]
        assert [found["low"], found["high"]] == pytest.approx([span.low, span.high])
