"""Sharpness in the paper's network: what is read is what was kept; the protocol."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.testing import assert_allclose
from scipy import stats

from birthmark.data import load_dataset
from birthmark.seeds import batch_order
from birthmark.store import open_shipped, open_store
from birthmark.sweeps import run
from birthmark_experiments import shipped_results
from birthmark_experiments.sharpness import readings
from birthmark_experiments.sharpness.readings import choose_sample
from birthmark_experiments.sharpness_paper import EXPERIMENT
from birthmark_experiments.sharpness_paper.protocol import PROTOCOLS, describe, spec_of

QUICK, FULL = PROTOCOLS["quick"], PROTOCOLS["full"]


def kept_network(folder, loss, epoch, replica):
    """Flat weights as they were kept, float64, and its loss as a function of them."""
    spec, store = spec_of(QUICK, loss), open_store(folder / "store")
    layers = [one for _, one in store.weights(spec.run_key, epoch).items()]
    pieces = [
        torch.tensor(part[replica]).double()
        for one in layers
        for part in (one.w, one.b)
    ]
    low = np.log(spec.training.eps)

    def value(flat, x, y):
        parts = torch.split(flat, [p.numel() for p in pieces])
        a = x
        for place in (0, 2, 4):
            w, b = (parts[place + i].view_as(pieces[place + i]) for i in (0, 1))
            a = (a if place == 0 else a.clamp(min=0)) @ w + b
        true = torch.log_softmax(a, dim=1)[torch.arange(len(y)), y]
        if loss == "clipped":
            true = true.clamp(low, np.log1p(-spec.training.eps))
        return -true.mean()

    return torch.cat([p.flatten() for p in pieces]), value


def all_examples():
    dataset = load_dataset(QUICK.spec.data)
    x = torch.tensor(dataset.x_train / dataset.full_scale).double()
    return x.reshape(len(x), -1), torch.tensor(dataset.y_train).long()


@pytest.mark.parametrize(("loss", "epoch", "r"), [("clipped", 3, 1), ("logits", 2, 0)])
def test_curvature_is_that_of_the_dense_hessian_at_kept_weights(
    folder, results, loss, epoch, r
):
    # in float64, by torch's own double derivatives of a loss written here
    found = results.sel(loss=loss, look=epoch).isel(replica=r)
    flat, value = kept_network(folder, loss, epoch, r)
    x, y = all_examples()
    some = choose_sample(QUICK.spec, len(y), QUICK.sample)
    hessian_of = torch.autograd.functional.hessian
    hessian = hessian_of(lambda v: value(v, x[some], y[some]), flat).numpy()
    values, vectors = np.linalg.eigh(hessian)
    assert_allclose(found["sharpness"], values[-1], rtol=0.02)
    first_w = vectors[: 64 * 8, -1].reshape(64, 8)
    mean = x.numpy().mean(axis=0)
    reads = mean / np.linalg.norm(mean) @ first_w
    assert_allclose(found["mean_share"], reads @ reads, atol=0.02)
    assert_allclose(found["sample_loss"], value(flat, x[some], y[some]), rtol=1e-5)
    # the next batches: of the order that the training has for the epoch that follows
    order = batch_order(0, r, epoch, len(y))
    size, ratios = QUICK.spec.training.batch_size, []
    for batch in (order[i * size : (i + 1) * size] for i in range(QUICK.batches)):
        leaf = flat.clone().requires_grad_()
        [g] = torch.autograd.grad(value(leaf, x[batch], y[batch]), leaf)
        _, hg = torch.autograd.functional.hvp(
            lambda v, b=batch: value(v, x[b], y[b]), flat, g
        )
        ratios.append(float(g @ hg / (g @ g)))
    assert_allclose(found["batch_sharpness"], np.mean(ratios), rtol=1e-3)


def test_both_losses_start_with_the_same_weights(folder, results):
    clipped, logits = (kept_network(folder, n, 0, 1)[0] for n in ("clipped", "logits"))
    assert_allclose(clipped, logits)
    later = results.sel(look=1)["sample_loss"]
    assert (later.sel(loss="clipped") != later.sel(loss="logits")).all()


def test_what_is_measured_already_is_not_measured_again(folder, results, monkeypatch):
    monkeypatch.setattr(readings, "find_top", None)  # nothing could be read
    again = EXPERIMENT.measure("quick", folder)
    xr.testing.assert_identical(again, results)


@pytest.mark.parametrize(
    "change", [{"looks": (0, 2)}, {"sample": 50}, {"batches": 1}, {"is_focus": True}]
)
def test_another_protocol_is_never_answered_with_old_readings(folder, results, change):
    spec, asked = spec_of(QUICK, "clipped"), {"sample": 300, "batches": 4}
    old = readings.read_run(spec, folder, (0, 1, 3), **asked)
    if "looks" in change:
        spec = spec_of(replace(QUICK, looks={"clipped": (0, 1, 2, 3)}), "clipped")
        run(spec, folder / "store")
        new = readings.read_run(spec, folder, change["looks"], **asked)
        assert new["look"].values.tolist() == [0, 2]
        return
    new = readings.read_run(spec, folder, (0, 1, 3), **(asked | change))
    name = {
        "sample": "sharpness",
        "batches": "batch_sharpness",
        "is_focus": "unclipped_sharpness",
    }[next(iter(change))]
    assert not np.array_equal(new[name], old[name], equal_nan=True)


def test_the_protocol_is_that_of_the_shipped_runs_of_the_paper(shipped):
    """The same runs, so that its curves are theirs."""
    paper = open_shipped("paper")
    runs = paper.runs()
    for loss in ("clipped", "logits"):
        spec = spec_of(FULL, loss)
        same = runs[
            (runs["training.loss"] == spec.training.loss)
            & (runs["data.name"] == "hasyv2")
            & (runs["network.widths"].map(str) == str(spec.network.widths))
        ]
        [key] = same["run_key"]
        other = paper.spec(key)
        for table in ("data", "network", "mark", "initialization", "training"):
            assert getattr(other, table) == getattr(spec, table)
        for name in ("seed", "replicas", "precision", "dtype"):
            assert getattr(other.run, name) == getattr(spec.run, name)
        records = paper.records(key, distributions=False)
        one = shipped.sel(loss=loss)
        looks = one["look"].to_numpy()[np.isfinite(one["sharpness"]).any("replica")]
        assert tuple(looks) == FULL.looks[loss]
        for name in ("train_loss", "train_accuracy"):
            assert_allclose(one[name], records[name].to_numpy()[1:], rtol=1e-6)
        assert_allclose(
            one["deviation"].sel(look=looks),
            records["deviation_std"].sel(layer="hidden2").to_numpy()[looks],
            rtol=1e-6,
        )
    assert shipped.attrs["protocol"] == describe(FULL, 151_241)


def made(onset=(36, 31), num=60) -> xr.Dataset:
    """Two replicas that abandon from these epochs on, with made curvature."""
    epoch = np.arange(1, num + 1)
    gone = (epoch[:, None] >= np.array(onset)).astype(float)
    curves = {"below_eps": gone, "train_accuracy": 0.9 - 0.8 * gone}
    curves["train_loss"] = epoch[:, None] * np.array([1.0, 2.0])
    none = {name: np.zeros_like(gone) for name in curves}
    none["train_accuracy"] += 0.9
    sharpness = [
        [[12, 10], [30, 14], [20, 300], [0, 0]],
        [[14, 11], [19, 13], [16, 15], [50, 40]],
    ]
    looks = ("loss", "look", "replica")
    found = xr.Dataset(
        {n: (("loss", "epoch", "replica"), [curves[n], none[n]]) for n in curves},
        {"loss": ["clipped", "logits"], "epoch": epoch, "look": [5, 30, 36, 50]},
        {"protocol": "made"},
    )
    found["sharpness"] = (looks, np.array(sharpness, dtype=float))
    found["batch_sharpness"] = 2 * found["sharpness"]
    for name in ("sample_below", "sample_loss", "mean_share"):
        found[name] = found["sharpness"] / 1000
    found["lr"] = ("loss", [0.1, 0.1])
    return found


def test_facts_are_those_of_made_results():
    facts = EXPERIMENT.summarize(made())
    assert facts["onset"] == [36, 31]
    assert facts["collapse"]["logits"] == [None, None]
    assert all(30 < epoch < 40 for epoch in facts["collapse"]["clipped"])
    row = facts["looks"]["clipped"][36]
    assert row["from_onset"] == [0, 5]
    assert_allclose(row["sharpness"], [2, 30])
    before = facts["before"]["clipped"]["sharpness"]
    # looks 5 and 30 of both: at 36 one of them has just begun
    assert (before["num"], before["num_above"]) == (4, 1)
    assert_allclose([before["low"], before["high"]], [1.0, 3.0])
    assert facts["before"]["logits"]["batch_sharpness"]["num"] == 8
    assert facts["peak"]["epoch"] == 36
    assert facts["peak"]["from_onset"] == 5
    assert_allclose(facts["peak"]["batch_sharpness"], 60)
    assert facts["end"]["sharpness"] == [0, 0]
    assert facts["end"]["change"] == [60 - 51, 2 * (60 - 51)]


def test_differences_are_paired_and_all_counted():
    rows = EXPERIMENT.summarize(made())["differences"]
    assert [one["words"] for one in rows[::2]] == [
        "clipped minus logits, epoch 5",
        "clipped minus logits, epoch 30",
        "clipped, epoch 30 minus epoch 5",
        "logits, epoch 50 minus epoch 5",
    ]
    pairs = [((12, 10), (14, 11)), ((30, 14), (19, 13))]
    pairs += [((30, 14), (12, 10)), ((50, 40), (14, 11))]
    p = [stats.ttest_rel(a, b).pvalue for a, b in pairs for _ in range(2)]
    for (a, b), one in zip(pairs, rows[::2], strict=True):
        assert_allclose(one["mean"], 0.1 * np.mean(np.subtract(a, b)), rtol=1e-6)
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.sort(p) * np.arange(len(p), 0, -1)).clip(max=1)
    assert_allclose(np.array([one["p"] for one in rows])[order], steps, rtol=1e-6)


def test_results_are_summarized_and_drawn(results, facts):
    assert list(facts["looks"]["clipped"]) == [0, 1, 3]
    assert list(facts["looks"]["logits"]) == [0, 1, 2]
    assert_allclose(results["lr"], 0.3)
    drawing = EXPERIMENT.draw(results)
    drawn = drawing.data["batch_sharpness"][1, 2]  # from logits, after 2 epochs
    kept = results["batch_sharpness"].sel(loss="logits", look=2)
    assert_allclose(drawn, 0.3 * kept)
    assert drawing.draw().axes


def test_shipped_networks_overshoot_in_their_batches_with_the_clip_and_without(shipped):
    facts = EXPERIMENT.summarize(shipped)
    for loss in ("clipped", "logits"):
        readings = facts["before"][loss]["batch_sharpness"]
        assert readings["num_above"] == readings["num"]
    assert None not in facts["collapse"]["clipped"]
    assert facts["collapse"]["logits"] == [None] * 3
    # lr x sharpness lies on both sides of the edge, with the clip mostly below
    here = facts["before"]["clipped"]["sharpness"]
    assert here["low"] < 2 < here["high"]
    assert here["num_above"] < here["num"] / 2
    small = shipped_results("sharpness").sel(arm="white 0.1 clipped")
    assert 0.1 * small["sharpness"].sel(look=60).mean() > 2
    # from logits all are beyond it in the end
    assert min(facts["looks"]["logits"][990]["sharpness"]) > 2


def test_shipped_networks_that_lost_their_examples_are_flat_in_the_sample(shipped):
    end = shipped.sel(loss="clipped", look=590)
    assert (end["sharpness"] == 0).all()
    assert np.isnan(end["batch_sharpness"]).all()
    assert (end["sample_below"] > 0.9).all()
    known = shipped["sharpness"].dropna("look", how="all").sel(loss="logits")
    assert (known.dropna("look") > 0).all()
