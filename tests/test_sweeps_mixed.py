"""Several runs as one stack: stored as if each were alone, decided by trial."""

import signal
import sys
import time

import numpy as np
import pytest
import xarray as xr

import birthmark as bm
from birthmark.spec import RunSpec
from birthmark.sweeps import Grid, mixtures, run, run_grid
from birthmark.sweeps.mixtures import Mixture, find_mixtures
from birthmark.sweeps.pipeline import carry_out as carry_out_all
from kills import run_and_kill

SMALL = {
    "data": {"name": "digits", "examples_per_class": 20},
    "training": {"epochs": 6, "batch_size": 32},
    "run": {"replicas": 2, "dtype": "float64"},
}


def make_spec(widths, **settings):
    return RunSpec(**SMALL).with_settings({"network.widths": widths, **settings})


DIFFERENT = (
    make_spec([5, 16], **{"record.distributions": [4], "record.weights": [3]}),
    make_spec([12, 16], **{"mark.text": "a", "run.seed": 3, "run.replicas": 1}),
    make_spec([9, 4], **{"training.lr": 0.05, "record.evaluate_train": True}),
)


def mix(specs, keys=None):
    keys = [spec.run_key for spec in specs] if keys is None else keys
    notes = {"mixed": True, "mixed_with": [spec.run_key for spec in specs]}
    return Mixture(tuple(specs), tuple(keys), notes)


def carry_out(mixture, store):
    for _ in carry_out_all([mixture], store):
        pass


def assert_records_agree(found, expected):
    # the place of a maximum may jump from one peak to an equal one by rounding
    peaks = [name for name in expected if name.endswith("conditional_peak")]
    for name, values in expected.drop_vars(peaks).data_vars.items():
        np.testing.assert_allclose(
            found[name].values, values.values, rtol=1e-9, atol=1e-10, err_msg=name
        )


def test_each_run_is_recorded_as_if_it_were_alone(tmp_path):
    store = bm.open_store(tmp_path / "mixed", create=True)
    carry_out(mix(DIFFERENT), store)
    for spec in DIFFERENT:
        expected = run(spec, tmp_path / "alone")
        found = store.records(spec.run_key)
        assert set(found.variables) == set(expected.records.variables)
        assert found.sizes == expected.records.sizes
        assert_records_agree(found, expected.records)
        epochs = store.weights_epochs(spec.run_key)
        assert epochs == expected.store.weights_epochs(spec.run_key)
        for epoch in epochs:
            alone = expected.store.weights(spec.run_key, epoch)
            for name, layer in store.weights(spec.run_key, epoch).items():
                np.testing.assert_allclose(layer.w, alone[name].w, atol=1e-12)
        manifest = store.manifest(spec.run_key)
        assert manifest["mixed"] is True
        assert manifest["mixed_with"] == [one.run_key for one in DIFFERENT]
        assert expected.store.manifest(spec.run_key)["mixed"] is False


def narrow(count=5, **settings):
    """Runs whose steps are nearly all overhead, as autograd makes them."""
    settings = {"run.replicas": 1, "training.momentum": 0.5} | settings
    return [make_spec([width, 4], **settings) for width in range(2, 2 + count)]


def test_narrow_runs_are_mixed_and_wide_ones_are_not(tmp_path):
    store = bm.open_store(tmp_path, create=True)
    long = {"training.epochs": 5000}
    (found,) = find_mixtures(narrow(**long), store)
    trial = found.notes["mixed_trial"]
    assert (found.notes["mixed"], trial["num_runs"]) == (True, 5)
    assert trial["mixed_ms"] < trial["separate_ms"]
    assert found.notes["mixed_with"] == [spec.run_key for spec in narrow(**long)]
    heavy = {"training.momentum": 0.5, "run.replicas": 4}
    wide = [make_spec([w, w], **long, **heavy) for w in (2, 900)]
    apart = find_mixtures(wide, store)
    assert [mixture.specs for mixture in apart] == [(spec,) for spec in wide]
    for mixture in apart:
        trial = mixture.notes["mixed_trial"]
        assert mixture.notes["mixed"] is False
        assert trial["mixed_ms"] > trial["separate_ms"] / 1.1
    assert list(tmp_path.glob("*/")) == []  # nothing was begun


def test_the_widest_is_left_out_until_the_stack_is_quicker(tmp_path):
    store = bm.open_store(tmp_path, create=True)
    specs = [
        *narrow(**{"training.epochs": 5000}),
        make_spec(
            [1500, 1500],
            **{"training.epochs": 5000, "training.momentum": 0.5, "run.replicas": 1},
        ),
    ]
    together, alone = find_mixtures(specs, store)
    assert len(together.specs) == 5
    assert alone.specs == (specs[-1],)


def test_runs_that_cannot_gain_are_not_tried(tmp_path):
    store = bm.open_store(tmp_path, create=True)
    short = narrow()
    sigmoid = narrow(**{"training.epochs": 5000, "network.activation": "sigmoid"})
    others = [
        spec.with_settings({"training.batch_size": 32 + number})
        for number, spec in enumerate(narrow(**{"training.epochs": 5000}))
    ]
    for specs in (short, sigmoid, others):
        found = find_mixtures(specs, store)
        assert [mixture.notes for mixture in found] == [{"mixed": False}] * len(specs)


def test_a_grid_says_in_the_manifest_how_it_was_decided(tmp_path, monkeypatch):
    monkeypatch.setattr(mixtures, "LEAST_STEPS", 1)
    monkeypatch.setattr(mixtures, "WORTH_IT", 0.0)  # whatever the trial says
    specs = narrow()
    done = run(specs[2], tmp_path)
    seen = []
    results = run_grid(Grid(tuple(specs)), tmp_path, finished=seen.append)
    assert [result.run_key for result in results] == [s.run_key for s in specs]
    assert [result.was_done for result in results] == [False, False, True, False, False]
    assert sorted(r.run_key for r in seen) == sorted(s.run_key for s in specs)
    for spec, result in zip(specs, results, strict=True):
        manifest = result.store.manifest(spec.run_key)
        if spec == specs[2]:
            assert manifest["mixed"] is False
            continue
        assert manifest["mixed"] is True
        assert manifest["mixed_trial"]["num_runs"] == 4
        assert result.records.attrs["mixed_trial.mixed_ms"] > 0
    xr.testing.assert_identical(done.records, results[2].records)


def stop_after(mixture, store, seconds):
    """Take the signal to stop after some time, as Ctrl-C sends it."""
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        for _ in carry_out_all([mixture], store):
            if time.monotonic() - started > seconds:
                signal.raise_signal(signal.SIGINT)


def test_a_run_goes_on_with_the_same_rows_or_alone(tmp_path, monkeypatch):
    recorded = {"record.epochs": [2, 9], "record.distributions": [9]}
    specs = narrow(3, **{"training.epochs": 60}, **recorded)
    whole = bm.open_store(tmp_path / "whole", create=True)
    carry_out(mix(specs), whole)
    monkeypatch.setattr("birthmark.sweeps.pipeline.LOOK_SECONDS", 0.05)
    store = bm.open_store(tmp_path / "cut", create=True)
    stop_after(mix(specs), store, 0.1)
    assert set(store.runs().state) == {"stopped"}
    # without its grid: to rounding, and the manifest says so
    alone = run(specs[0], store)
    assert_records_agree(alone.records, whole.records(specs[0].run_key))
    manifest = store.manifest(specs[0].run_key)
    assert manifest["mixed"] is False
    assert 0 < manifest["mixed_until_step"] < 60 * 7
    # another grid, with one of them: the others fill their rows
    run_grid(Grid((specs[1],)), store)
    assert store.manifest(specs[1].run_key)["mixed"] is True
    assert not store.is_done(specs[2].run_key)
    run_grid(Grid(tuple(specs)), store)
    for spec in specs[1:]:
        xr.testing.assert_identical(
            store.records(spec.run_key).drop_attrs(),
            whole.records(spec.run_key).drop_attrs(),
        )


PROGRAM = """
import sys
from pathlib import Path
from birthmark.spec import RunSpec
from birthmark.sweeps import Grid, mixtures, pipeline, run_grid
pipeline.CHECKPOINT_SECONDS = pipeline.LOOK_SECONDS = 0.02
mixtures.LEAST_STEPS, mixtures.WORTH_IT = 1, 0.0  # whatever the trial says
specs = [RunSpec.from_toml(path) for path in sorted(Path(sys.argv[1]).glob("*.toml"))]
try:
    run_grid(Grid(tuple(specs)), sys.argv[2],
             watch=lambda p: print(p.epoch, flush=True))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_mixture_started_again_equals_never_stopped(tmp_path, kill):
    recorded = {"record.epochs": [2, 9], "record.distributions": [9]}
    specs = narrow(3, **{"training.epochs": 20}, **recorded)
    for number, spec in enumerate(specs):
        (tmp_path / f"{number}.toml").write_text(spec.to_toml())
    whole = bm.open_store(tmp_path / "whole", create=True)
    carry_out(mix(specs), whole)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(tmp_path / "cut")]
    run_and_kill(command, kill, [0.0, 0.3], timeout=240)
    store = bm.open_store(tmp_path / "cut")
    for spec in specs:
        assert store.manifest(spec.run_key)["mixed"] is True
        xr.testing.assert_identical(
            store.records(spec.run_key).drop_attrs(),
            whole.records(spec.run_key).drop_attrs(),
        )
