"""What ships: records of the paper's protocol, results of questions, and their pages.

In one file, since facts of the paper's records take long to find, and are found once.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import birthmark_experiments
from birthmark.analysis import FIGURE_2, find_transitions, read_study
from birthmark.store import load_results, open_shipped
from birthmark.sweeps import reproduction
from birthmark_experiments import (
    experiment_names,
    find_experiment,
    pages,
    shipped_results,
)
from birthmark_experiments.frame import draw_experiment
from birthmark_experiments.paper.claims import VERDICTS

RECORDS = Path(birthmark_experiments.__file__).parent

KEYS = {
    "0839cc559e1ec825",
    "10e9847034bffe62",
    "26ad9d4cbf54fbbf",
    "2b3b2770e5aa5c57",
    "2c2cffd0aed359bb",
    "5a91a384b2f1c1f9",
    "75677169fb1dba03",
    "92b08089b1122840",
    "c8f3687f346526cf",
    "d6a1a20e813f12e7",
    "d8ae0a85e9249711",
    "db84835f09022af1",
    "ebfd714f08cd9e46",
    "ec4ee06028f9deb2",
}
SCALES = ("laptop", "gpu", "paper")
# trained on a GPU, and others of that scale beside them
ON_GPU = {
    "05074e4ee2e994a2",
    "0b5d4eab3120719e",
    "30a313629e92a9ed",
    "3a3c998b120e7a43",
    "41ac64463e3d763e",
    "5fb1c1342fa8b7fc",
    "7c73673aca8af3de",
    "f26b238d1bdb183f",
}


@pytest.fixture(scope="module")
def store():
    return open_shipped("paper")


@pytest.fixture(scope="module")
def facts():
    return pages.paper_facts()


@pytest.fixture(scope="module")
def sources():
    return pages.find_sources()


@pytest.mark.parametrize(
    "template", pages.find_templates([]), ids=lambda path: pages.find_page(path).stem
)
def test_a_page_says_what_the_shipped_records_say(template, sources):
    """After a change: python -m birthmark_experiments.pages."""
    assert pages.find_differences(template, sources) == []


@pytest.mark.parametrize("name", experiment_names())
def test_an_experiment_ships_its_results_figure_and_page(name):
    results = shipped_results(name)
    assert len(results.attrs["protocol"]) > 40
    for variable in results.data_vars.values():
        assert variable.attrs["long_name"]
        assert "units" in variable.attrs
    _, manifest = load_results(RECORDS / name.replace("-", "_"))
    assert manifest["scale"] == "full"
    assert set(manifest["data"]) == set(find_experiment(name).data)
    drawing = draw_experiment(name, results)
    assert drawing.draw().axes
    assert drawing.name == name
    assert len(drawing.caption) > 40
    picture = f"../images/experiments/{name}.svg"
    texts = [pages.find_page(path).read_text() for path in pages.find_templates([])]
    assert any(picture in text for text in texts)


def test_the_shipped_runs_are_complete_and_small(store, facts):
    assert set(store.runs()["state"]) == {"done"}
    assert {run["replicas"] for run in facts["runs"]} == {3}
    assert {run["epochs"] for run in facts["runs"]} == {1000}
    assert sum(run["megabytes"] for run in facts["runs"]) < 60


def test_the_shipped_runs_have_the_keys_that_their_specs_give(store):
    assert (
        {store.spec(key).run_key for key in KEYS | ON_GPU}
        == KEYS | ON_GPU
        == set(store.runs()["run_key"])
    )


def test_they_are_runs_that_the_scales_would_carry_out(store):
    known = {spec.run_key for scale in SCALES for spec in reproduction(scale)}
    assert set(store.runs()["run_key"]) <= known
    for name in ("protocol_details", "figure_1"):
        assert set(open_shipped(name).runs()["run_key"]) <= known


def test_every_claim_has_a_verdict_and_a_reason(facts):
    claims = facts["tests"]["hasyv2"]
    assert {claim.letter[0] for claim in claims} == set("abcdef")
    for claim in claims:
        assert claim.verdict in VERDICTS
        assert claim.because.endswith(".")


def test_the_minimum_test_loss_is_within_ten_per_cent_of_figure_2d(facts):
    found = [one for one in facts["figure_2"] if one["name"] == "minimum test loss"]
    assert found
    for one in found:
        assert abs(one["ratio"] - 1) < 0.10


def test_width_150_moves_as_in_an_independent_trial(store):
    """By hand, other code and other random numbers: collapse at epochs 580 and 582.

    Train loss (running mean) and standard deviation of the deviation between the
    hidden layers, clipped loss, at epochs of that trial.
    """
    [run] = [
        run
        for run in read_study(store)
        if (run.spec.data.name, run.width) == ("hasyv2", 150)
        and run.spec.training.loss == "clipped_cross_entropy"
    ]
    found = find_transitions(run.records, run.spec)
    assert_allclose(found.divergence_epoch, 581, rtol=0.06)
    train, deviation = run.values("train_loss"), run.values("deviation_std", run.layer)
    for epoch, loss, std in ((1, 3.330, 0.037), (20, 0.700, 0.115), (200, 0.292, 0.26)):
        assert train[epoch].mean() == pytest.approx(loss, rel=0.12)
        assert deviation[epoch].mean() == pytest.approx(std, rel=0.04)
    # frozen on the plateau, to the last digit
    assert (train[-1] == train[-300]).all()
    assert (deviation[-1] == deviation[-301]).all()


def test_figure_2_draws_the_published_numbers_beside_ours():
    [drawing] = [one for one in pages.paper_drawings()[2] if "paper_widths" in one.data]
    assert drawing.data["paper_widths"].tolist() == [one.width for one in FIGURE_2]
    at_150 = drawing.data["paper_widths"].tolist().index(150)
    assert_allclose(drawing.data["paper_divergence_epoch"][at_150], [425, 0.05 * 425])
    assert np.isnan(drawing.data["paper_divergence_epoch"][0]).all()
    assert "read off by eye" in drawing.caption
    assert drawing.render("png")[:4] == b"\x89PNG"
