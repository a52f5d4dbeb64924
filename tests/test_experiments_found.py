"""The library finds the experiments where they are, and says so where they are not."""

from importlib.metadata import entry_points
from pathlib import Path

import pytest

from birthmark import experiments
from birthmark.errors import MissingDependencyError
from birthmark.extensions import find_packaged
from birthmark.store import open_shipped


def test_the_package_is_found_in_a_checkout():
    package = experiments.find_package("a test")
    assert "depth" in package.experiment_names()
    assert package.find_experiment("depth").data == ("mnist", "cifar10_12k")


@pytest.mark.parametrize("group", ["birthmark.experiments", "pytest11", "no.such"])
def test_entry_points_are_those_of_importlib_metadata(group):
    truth = {point.value for point in entry_points(group=group)}
    assert {*find_packaged(group)} == truth


@pytest.mark.parametrize(
    "command",
    [["experiment"], ["experiment", "depth"], ["reproduce", "--scale", "shipped"]],
)
def test_without_the_package_a_command_says_how_to_get_it(
    command, tmp_path, monkeypatch, birthmark
):
    monkeypatch.setattr(experiments, "_PACKAGE", "not_installed_here")
    monkeypatch.setattr(experiments, "find_packaged", lambda group: [])
    monkeypatch.chdir(tmp_path)
    status, _, err = birthmark(*command)
    assert status == 2
    assert "pip install birthmark-experiments" in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_fault_inside_the_package_is_not_taken_for_its_absence(monkeypatch):
    def import_module(name):
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy")

    monkeypatch.setattr(experiments, "import_module", import_module)
    with pytest.raises(ModuleNotFoundError, match="scipy"):
        open_shipped("paper")
    monkeypatch.setattr(
        experiments,
        "import_module",
        lambda name: (_ for _ in ()).throw(ModuleNotFoundError(name=name)),
    )
    with pytest.raises(MissingDependencyError, match="shipped records of 'paper'"):
        open_shipped("paper")


def test_a_question_is_answered_in_words(birthmark, tmp_path):
    status, out, err = birthmark(
        "experiment", "constant-start", "--store", tmp_path / "here"
    )
    assert (status, err) == (0, "")
    question, _, first, *_ = out.splitlines()
    assert question == "Why start from random weights, and not from 0.5 everywhere?"
    page = Path(__file__).parent.parent / "docs" / "experiments" / "constant-start.md"
    assert first.startswith("- One unit a layer")
    assert first in page.read_text().replace("**", "")
    assert "docs/experiments/constant-start.md" in out
    assert "constant-start.png" in out
