"""Interventions: what goes on untouched goes on exactly; layers go back exactly."""

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_array_equal

from birthmark.data import load_dataset
from birthmark.experiments.rescue import (
    EXPERIMENT,
    PROTOCOLS,
    Intervention,
    find_onsets,
    find_spec,
    intervene,
    list_interventions,
)
from birthmark.figures import draw_experiment
from birthmark.store import open_store
from birthmark.training import Training


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rescue")


@pytest.fixture(scope="module")
def results(folder) -> xr.Dataset:
    return EXPERIMENT.measure("quick", folder)


def test_without_an_intervention_the_replica_goes_on_as_it_would_have(folder, results):
    spec = find_spec(PROTOCOLS["quick"])
    store = open_store(folder / "store")
    records = store.records(spec.run_key, distributions=False)
    for place, r in enumerate(results["replica"].to_numpy()):
        onset = int(results["onset"][place])
        going = slice(onset + 1, onset + 1 + PROTOCOLS["quick"].more)
        np.testing.assert_allclose(
            results["train_loss"].sel(intervention="nothing").isel(replica=place),
            records["train_loss"].to_numpy()[going, r],
            rtol=1e-5,
        )


def test_a_layer_put_back_has_its_initial_values_and_the_others_those_of_the_onset(
    folder, results
):
    spec = find_spec(PROTOCOLS["quick"])
    store, dataset = open_store(folder / "store"), load_dataset(spec.data)
    fresh = Training(spec, dataset, replicas=[1]).initial
    now = store.weights(spec.run_key, 4)
    arm = Intervention({"training.lr": 0.01}, ("hidden2",))
    training = intervene(store, spec, dataset, arm, 1, 4)
    assert training.spec.training.lr == 0.01
    for name, layer in training.weights.items():
        is_back = name == "hidden2"
        assert_array_equal(layer.w[0], fresh[name].w[0] if is_back else now[name].w[1])
        assert_array_equal(layer.b[0], fresh[name].b[0] if is_back else now[name].b[1])


def test_the_onset_is_the_first_kept_epoch_with_the_share(folder, results):
    spec = find_spec(PROTOCOLS["quick"])
    store = open_store(folder / "store")
    abandoned = store.records(spec.run_key)["abandoned"].to_numpy()
    kept, num = range(0, 11, 2), 400
    for share in (0.02, 0.5, 1.1):
        expected = [
            next((e for e in kept if abandoned[e, r] >= share * num), -1)
            for r in range(3)
        ]
        assert find_onsets(store, spec, share, num) == expected


def test_arms_change_only_what_their_name_says():
    arms = list_interventions(0.1)
    assert arms["nothing"] == Intervention()
    assert arms["lr x 0.1"].settings == {"training.lr": pytest.approx(0.01)}
    assert arms["loss from logits"].settings == {"training.loss": "cross_entropy"}
    assert arms["all put back"].put_back == ("hidden1", "hidden2", "output")


def test_rescued_replicas_are_those_that_end_above_their_accuracy_at_the_onset(results):
    facts = EXPERIMENT.summarize(results)
    for name, arm in facts["arms"].items():
        ends = np.median(results["train_accuracy"].sel(intervention=name), axis=-1)
        at = results["onset_train_accuracy"].to_numpy()
        assert arm["num_rescued"] == (ends >= at).sum()
    assert draw_experiment("rescue", results).render("svg").startswith(b"<?xml")
