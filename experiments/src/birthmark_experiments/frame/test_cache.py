"""The cache of parts: keyed by all that their numbers depend on, written at once."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import xarray as xr

from birthmark.errors import SpecError
from birthmark.spec import RunSpec
from birthmark.store import load_results, save_results
from birthmark_experiments import frame
from birthmark_experiments.frame import (
    Experiment,
    Facts,
    hash_protocol,
    recall,
    run_experiment,
)
from birthmark_experiments.protocol_details.details import Detail, NoBiases


@dataclass(frozen=True)
class Inner:
    epochs: int


@dataclass(frozen=True)
class Asked:
    spec: RunSpec
    kind: type
    rates: tuple[float, ...]
    inner: Inner
    names: dict[str, int]
    draws: np.ndarray


SPEC = RunSpec(data={"name": "digits"})
ASKED = Asked(SPEC, Detail, (0.1, 0.2), Inner(3), {"a": 1, "b": 2}, np.arange(3))


@pytest.mark.parametrize(
    "change",
    [
        {"spec": SPEC.with_settings({"training.lr": 0.2})},
        {"kind": NoBiases},
        {"rates": (0.1, 0.2 + 1e-16 * 2)},
        {"rates": (0.1,)},
        {"inner": Inner(4)},
        {"names": {"a": 1, "b": 3}},
        {"names": {"a": 1}},
        {"draws": np.arange(3.0)},
        {"draws": np.array([0, 1, 3])},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_counts_in_the_hash(change):
    assert hash_protocol(replace(ASKED, **change)) != hash_protocol(ASKED)


def test_what_is_the_same_has_the_same_hash():
    turned = replace(ASKED, names={"b": 2, "a": 1}, draws=np.arange(3))
    assert hash_protocol(turned) == hash_protocol(ASKED)
    assert hash_protocol([1]) != hash_protocol(["1"]) != hash_protocol([1.0])


def test_what_has_no_hash_is_refused():
    with pytest.raises(TypeError, match="function in a protocol has no hash"):
        hash_protocol({"how": lambda: None})


def test_a_part_is_measured_once_and_again_when_its_protocol_changes(tmp_path):
    asked = []

    def measure():
        asked.append(1)
        return xr.Dataset({"a": ("x", np.arange(3.0) + len(asked))})

    first = recall(tmp_path, "part", Inner(1), measure)
    xr.testing.assert_identical(recall(tmp_path, "part", Inner(1), measure), first)
    assert len(asked) == 1
    for part, protocol in (("part", Inner(2)), ("other", Inner(1))):
        recall(tmp_path, part, protocol, measure)
    assert len(asked) == 3


def test_a_part_that_was_interrupted_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recall(tmp_path, "part", 1, fail)
    assert not list(tmp_path.rglob("*.nc"))
    # killed between its two files: the numbers do not count without the manifest
    part = xr.Dataset({"a": ("x", [1.0])})
    first = recall(tmp_path, "part", 1, lambda: part)
    [manifest] = tmp_path.rglob("manifest.json")
    manifest.unlink()
    again = recall(tmp_path, "part", 1, lambda: part + 1)
    assert float(again["a"][0]) == float(first["a"][0]) + 1


def test_results_of_a_protocol_that_has_changed_are_measured_anew(
    tmp_path, monkeypatch
):
    steps = {"quick": Inner(1)}
    monkeypatch.setattr(Experiment, "protocol", lambda self, scale: steps[scale])
    monkeypatch.setattr(
        Experiment,
        "measure",
        lambda self, scale, folder: xr.Dataset({"a": ("x", [steps[scale].epochs])}),
    )
    mine = Experiment("my_questions.first", "Is it so?")
    assert int(run_experiment(mine, tmp_path, "quick")["a"][0]) == 1
    steps["quick"] = Inner(2)
    assert int(run_experiment(mine, tmp_path, "quick")["a"][0]) == 2
    # those of an older version, which wrote no hash, cannot be known to be the same
    results, manifest = load_results(tmp_path)
    del manifest["protocol"]
    save_results(tmp_path, results + 7, manifest)
    assert int(run_experiment(mine, tmp_path, "quick")["a"][0]) == 2
    with pytest.raises(SpecError, match="name another folder"):
        run_experiment(Experiment("my_questions.second", "And so?"), tmp_path, "quick")


def test_facts_have_the_fields_that_they_declare_and_no_others():
    @dataclass(frozen=True)
    class Found(Facts):
        loss: float

    assert Found(0.5)["loss"] == Found(0.5).loss == 0.5
    with pytest.raises(KeyError):
        Found(0.5)["__class__"]
    assert frame.Facts is Facts
