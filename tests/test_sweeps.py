"""The pipeline: done is done, stopped goes on exactly, whatever stopped it."""

import shutil
import signal
from threading import Thread

import numpy as np
import pytest
import torch
import xarray as xr

import birthmark as bm
from birthmark.errors import BirthmarkError, SpecError
from birthmark.measurements import measure
from birthmark.spec import RunSpec
from birthmark.store.arrays import read_arrays
from birthmark.sweeps import (
    Grid,
    Progress,
    pipeline,
    preset,
    provenance,
    reproduction,
    run,
    run_grid,
)
from birthmark.sweeps.interrupts import deferred_interrupts
from birthmark.sweeps.stacks import Stack
from birthmark.training.compiled import CompiledPath
from kills import run_and_kill

SMALL = {
    "data": {"name": "digits", "examples_per_class": 20},
    "network": {"widths": [16, 16]},
    "training": {"epochs": 6, "batch_size": 32},
    "run": {"replicas": 2},
    "mark": {"text": "a"},
    "record": {"weights": [3]},
}


def small(**settings):
    return RunSpec(**SMALL).with_settings(settings)


def without_origin(records):
    return records.drop_attrs()


def test_records_are_what_measuring_the_snapshots_gives(tmp_path):
    spec = small(**{"record.epochs": [2, 4], "record.distributions": [4]})
    records = run(spec, tmp_path).records
    initial = bm.initial_configuration(spec)
    snapshots = list(bm.train(spec))
    assert [snapshot.epoch for snapshot in snapshots] == [0, 2, 4, 6]
    for snapshot in snapshots:
        at = records.isel(step=snapshot.epoch)
        assert int(at.epoch) == snapshot.epoch
        assert int(at.step) == snapshot.step
        np.testing.assert_array_equal(at.test_loss, snapshot.test_loss)
        np.testing.assert_array_equal(at.abandoned, snapshot.abandoned)
        found = measure(initial, snapshot.weights, kind="scalars")
        for name in ("correlation", "deviation_std", "bias_distance", "sign_flips"):
            np.testing.assert_array_equal(at[name], found[name])
    for epoch in (1, 3, 5):
        assert records.correlation.isel(step=epoch).isnull().all()
        assert records.train_loss.isel(step=epoch).notnull().all()
    assert records.distribution_epoch.values.tolist() == [0, 4, 6]
    store = bm.open_store(tmp_path)
    assert store.weights_epochs(spec.run_key) == [0, 3, 6]
    first, last = (store.weights(spec.run_key, epoch) for epoch in (0, 6))
    np.testing.assert_array_equal(last["output"].b, snapshots[-1].weights["output"].b)
    again = measure(first, last, kind="scalars")
    np.testing.assert_array_equal(again.cosine, records.cosine.isel(step=-1))


def test_the_path_is_the_sum_of_the_recorded_moves(tmp_path):
    spec = small(**{"record.epochs": [2, 4]})
    records = run(spec, tmp_path).records
    snapshots = list(bm.train(spec))
    total = torch.zeros(2)
    for before, after in zip(snapshots[:-1], snapshots[1:], strict=True):
        total += (after.weights["hidden1"].w - before.weights["hidden1"].w).norm(
            dim=(1, 2)
        )
    found = records.path_length.sel(layer="hidden1").isel(step=-1)
    np.testing.assert_allclose(found, total, rtol=1e-5)
    assert (found >= records.distance.sel(layer="hidden1").isel(step=-1)).all()


def test_inputs_that_are_zero_everywhere_cannot_move(tmp_path):
    records = run(small(), tmp_path).records
    pixels = bm.load_dataset(small().data).x_train
    share = (pixels == 0).all(axis=0).mean()
    assert share > 0
    last = records.cannot_move.isel(step=-1, replica=0)
    np.testing.assert_allclose(last, [share, 0, 0])
    # and they do not: their weights keep the exact initial value
    spec = small()
    snapshot = list(bm.train(spec))[-1]
    still = torch.from_numpy((pixels == 0).all(axis=0))
    before, after = (
        bm.initial_configuration(spec)["hidden1"],
        snapshot.weights["hidden1"],
    )
    assert (after.w[:, still] == before.w[:, still]).all()
    assert (after.w[:, ~still] != before.w[:, ~still]).any(dim=2).all()


def test_a_run_that_is_done_is_not_run_again(tmp_path):
    first = run(small(), tmp_path)
    seen: list[Progress] = []
    second = run(small(), tmp_path, watch=seen.append)
    assert (first.was_done, second.was_done, seen) == (False, True, [])
    xr.testing.assert_identical(first.records, second.records)


def test_the_manifest_says_where_the_numbers_come_from(tmp_path):
    result = run(small(), tmp_path)
    manifest = result.store.manifest(result.run_key)
    assert manifest["versions"]["torch"] == torch.__version__
    assert manifest["data"]["checksum"] == bm.load_dataset(small().data).checksum
    assert manifest["num_classes"] == 10
    assert manifest["largest_class_share"] == pytest.approx(0.1)
    assert manifest["wall_time_s"] > 0
    assert result.records.attrs["num_classes"] == 10


def go_on(spec, store):
    pipeline.CHECKPOINT_SECONDS = pipeline.LOOK_SECONDS = 0.02
    run(spec, store)


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_and_started_again_equals_never_stopped(tmp_path, kill):
    spec = small(**{"training.epochs": 60, "record.distributions": [7, 30]})
    expected = run(spec, tmp_path / "whole").records
    cut = tmp_path / "cut"
    begun = (cut / spec.run_key / "manifest.json").exists
    run_and_kill(go_on, (spec, cut), kill, begun, [0.05, 0.15])
    store = bm.open_store(cut)
    found = store.records(spec.run_key)
    xr.testing.assert_identical(without_origin(found), without_origin(expected))
    assert store.weights_epochs(spec.run_key) == [0, 3, 60]


def test_a_run_stopped_after_its_last_step_is_only_finished(tmp_path, monkeypatch):
    spec, expected = small(), run(small(), tmp_path / "whole").records
    with monkeypatch.context() as patch:

        def killed(stack):
            stack.save()
            raise KeyboardInterrupt

        patch.setattr(Stack, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            run(spec, tmp_path / "cut")
    monkeypatch.setattr(Stack, "advance", lambda stack, steps: pytest.fail("trains"))
    found = run(spec, tmp_path / "cut").records
    xr.testing.assert_identical(without_origin(found), without_origin(expected))


def test_an_interrupt_in_the_last_moment_of_a_run_stops_what_comes_after(tmp_path):
    def stop(progress):
        if progress.share == 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(pipeline.Stopped):
        run(small(), tmp_path, watch=stop)
    assert bm.open_store(tmp_path).is_done(small().run_key)


def test_a_spec_that_cannot_run_leaves_nothing_behind(tmp_path):
    for settings in (
        {"training.loss": "hinge"},
        {"initialization.name": "glorot"},
        {"data.name": "minst"},
        {"data.classes": 11},
        {"run.device": "cuda:7"},
        {"mark.text": "a long sentence that does not fit"},
    ):
        with pytest.raises(BirthmarkError) as caught:
            run(small(**settings), tmp_path / "store")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()


def test_a_grid_is_the_product_of_its_lists(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(
        '[spec.data]\nname = "digits"\n[spec.training]\nepochs = 2\n'
        '[grid.product]\n"network.widths" = [[4, 4], [5, 5]]\nrun.seed = [1, 2]\n'
    )
    grid = Grid.from_toml(path)
    found = [(spec.network.widths, spec.run.seed) for spec in grid]
    assert found == [((4, 4), 1), ((4, 4), 2), ((5, 5), 1), ((5, 5), 2)]
    assert all(spec.training.epochs == 2 for spec in grid)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[specs.data]\n", "did you mean 'spec'"),
        ("spec = 3\n", "line 1: spec: needs to be a table, got 3"),
        ("grid = 3\n", "line 1: grid: needs to be a table"),
        ("[grid]\nproduct = 3\n", "line 2: grid.product: needs to be a table"),
        ("[grid.products]\n", "did you mean 'product'"),
        ('[spec.data]\nname = "digits"\n[grid.product]\n"run.seed" = 3\n', "list"),
        ('[spec.data]\nname = "digits"\n[spec.run]\nsede = 3\n', "line 4.*'seed'"),
        (
            '[spec.data]\nname = "digits"\n[grid.product]\n"run.seed" = [-1]\n',
            "line 4: run.seed",
        ),
    ],
)
def test_a_bad_grid_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "grid.toml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message) as caught:
        Grid.from_toml(path)
    assert "\n" not in str(caught.value)


def test_a_bad_run_of_a_grid_stops_it_before_the_first_one(tmp_path):
    grid = Grid((small(), small(**{"training.loss": "hinge"})))
    with pytest.raises(SpecError, match="unknown loss 'hinge'"):
        run_grid(grid, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_presets_are_the_protocols_they_name():
    paper = preset("paper", dataset="hasyv2", width=256)
    assert paper.network.widths == (256, 256)
    assert (paper.training.lr, paper.training.epochs) == (0.1, 1000)
    assert (paper.mark.text, paper.mark.layer, paper.mark.mode) == (
        "a",
        "hidden2",
        "zero",
    )
    assert preset("paper", dataset="mnist", mark=False).mark is None
    with pytest.raises(SpecError, match="did you mean 'paper'"):
        preset("papre")
    with pytest.raises(SpecError, match="unknown scale"):
        reproduction("desktop")
    names = [{spec.data.name for spec in reproduction(s)} for s in ("demo", "laptop")]
    assert names == [{"digits"}, {"hasyv2", "mnist", "fashion_mnist"}]
    paper_widths = {
        spec.network.widths[0]
        for spec in reproduction("paper")
        if spec.data.name == "mnist"
    }
    assert paper_widths >= {10, 100, 150, 250, 275, 300, 500, 1000}


def test_the_scale_of_the_paper_has_all_widths_and_begins_with_the_quickest():
    specs = list(reproduction("paper"))
    assert len(specs) == len(set(specs)) == 3 * (14 + 2)
    assert {spec.run.replicas for spec in specs} == {10}
    first, last = specs[0], specs[-1]
    assert (first.data.name, first.network.widths) == ("mnist", (10, 10))
    assert (last.data.name, last.network.widths) == ("hasyv2", (1000, 1000))
    place = {(spec.data.name, spec.network.widths): i for i, spec in enumerate(specs)}
    # 60,000 x 784 x 1000 weights are fewer operations than 151,241 x 1024 x 500
    assert place["mnist", (500, 500)] < place["hasyv2", (300, 300)]


def test_progress_says_where_a_run_stands(tmp_path):
    seen: list[Progress] = []
    run(small(**{"training.epochs": 40}), tmp_path, watch=seen.append)
    assert seen[-1].epoch == 40
    assert seen[-1].share == 1.0
    assert seen[-1].seconds_left == 0
    assert seen[-1].metrics.epoch == 40
    assert seen[-1].examples_per_second > 0


def test_a_run_in_another_thread_does_without_signals(tmp_path):
    thread = Thread(target=run, args=(small(), tmp_path))
    thread.start()
    thread.join()
    assert bm.open_store(tmp_path).is_done(small().run_key)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_run_that_goes_on_by_other_means_says_so_and_from_which_step(
    tmp_path, monkeypatch
):
    def stop(progress):
        signal.raise_signal(signal.SIGINT)

    def go_on():
        with pytest.raises(pipeline.Stopped):
            run(spec, tmp_path, watch=stop)
        _, saved = read_arrays(tmp_path / spec.run_key / "checkpoint.safetensors")
        step = saved["facts"]["epoch"] * 7 + saved["facts"]["batch"]  # 200 by 32
        return step, store.manifest(spec.run_key).get("went_on", [])

    spec, store = small(**{"training.epochs": 40}), bm.open_store(tmp_path, create=True)
    monkeypatch.setattr(pipeline, "LOOK_SECONDS", 0.001)
    versions = provenance.describe_software()["versions"]
    with monkeypatch.context() as patch:
        step, said = go_on()
        assert said == []
        patch.setattr(provenance, "_versions", lambda: {**versions, "torch": "0.1"})
        patch.setattr(CompiledPath, "fits", lambda spec, device: False)
        next_step, said = go_on()
        ways = f"path compiled -> fast, versions.torch {torch.__version__} -> 0.1"
        assert said == [f"at step {step}: {ways}"]
    run(spec, tmp_path)
    first, second = store.manifest(spec.run_key)["went_on"]
    assert first == said[0]
    assert second.startswith(f"at step {next_step}: ")
    assert second.endswith(f"versions.torch 0.1 -> {torch.__version__}")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_to_stop_is_noted_unless_it_is_ignored(name):
    """A terminal that closes, too; a script's jobs in the background ignore Ctrl-C."""
    if (number := getattr(signal, name, None)) is None:
        pytest.skip("Windows has no hangup")
    before = signal.getsignal(number)
    try:
        for handler, came in ((signal.SIG_DFL, True), (signal.SIG_IGN, False)):
            signal.signal(number, handler)
            with deferred_interrupts() as interrupt:
                signal.raise_signal(number)
                assert interrupt.came is came
            assert signal.getsignal(number) == handler
    finally:
        signal.signal(number, before)
