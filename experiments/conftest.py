"""What the tests of each question begin with: its quick results, and those that ship.

The question is that of the folder in which the test lies.
"""

from importlib import import_module

import pytest


@pytest.fixture(scope="module")
def experiment(request):
    """The experiment of this folder."""
    return import_module(request.module.__package__).EXPERIMENT


@pytest.fixture(scope="module")
def folder(tmp_path_factory, experiment):
    """Where the quick scale is measured."""
    return tmp_path_factory.mktemp(experiment.name)


@pytest.fixture(scope="module")
def results(folder, experiment):
    """What the quick scale gives."""
    return experiment.measure("quick", folder)


@pytest.fixture(scope="module")
def facts(experiment, results):
    """What is read off these."""
    return experiment.summarize(results)


@pytest.fixture(scope="module")
def shipped(experiment):
    """The results that ship."""
    from birthmark_experiments import shipped_results

    return shipped_results(experiment.name)
