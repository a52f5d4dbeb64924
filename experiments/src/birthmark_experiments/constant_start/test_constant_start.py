"""Constant starts: tied units are one unit, and what was measured agrees with that."""

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.testing import assert_allclose
from scipy.special import log_softmax, softmax

from birthmark.data import load_dataset
from birthmark.seeds import batch_order
from birthmark.shapes import Dataset
from birthmark.spec import RunSpec
from birthmark.store import open_store
from birthmark.sweeps import run
from birthmark.training import train
from birthmark_experiments.constant_start import EXPERIMENT
from birthmark_experiments.constant_start.facts import apart_steps
from birthmark_experiments.constant_start.measure import (
    compare_ends,
    constant_parameters,
    plain_forward,
    scattered_forward,
    spread,
    width_one_factors,
    width_one_parameters,
)
from birthmark_experiments.frame.descent import descend


def spec_of(start: dict, **settings) -> RunSpec:
    spec = RunSpec(
        data={"name": "digits", "examples_per_class": 20},
        network={"widths": [6, 6]},
        initialization=start,
        training={"loss": "cross_entropy", "lr": 0.3, "batch_size": 20, "epochs": 3},
        run={"replicas": 2, "device": "cpu"},
        record={"distributions": []},
    )
    return spec.with_settings(settings)


def width_one_losses(
    dataset: Dataset, spec: RunSpec, value: float, n: int, replica: int
) -> list[float]:
    """The tied network of n units a layer by hand: three numbers a unit, float64."""
    x = dataset.x_train / dataset.full_scale
    y, lr = dataset.y_train, spec.training.lr
    u, b, c = np.full(x.shape[1], value), 0.0, 0.0
    v, w, d = value, np.full(10, value), np.zeros(10)
    losses = []
    for epoch in range(spec.training.epochs):
        total = 0.0
        order = batch_order(spec.run.seed, replica, epoch, len(y))
        for start in range(0, len(y), spec.training.batch_size):
            i = order[start : start + spec.training.batch_size]
            z1 = x[i] @ u + b
            a1 = np.maximum(z1, 0)
            z2 = n * v * a1 + c
            a2 = np.maximum(z2, 0)
            logits = n * a2[:, None] * w + d
            total -= log_softmax(logits, axis=1)[range(len(i)), y[i]].sum()
            g = (softmax(logits, axis=1) - np.eye(10)[y[i]]) / len(i)
            g2 = (g @ w) * (z2 > 0)
            g1 = n * v * g2 * (z1 > 0)
            w, d = w - lr * (a2 @ g), d - lr * g.sum(axis=0)
            v, c = v - lr * (a1 @ g2), c - lr * g2.sum()
            u, b = u - lr * (g1 @ x[i]), b - lr * g1.sum()
        losses.append(total / len(y))
    return losses


def test_a_tied_network_of_the_engine_is_one_unit_a_layer_computed_by_hand():
    spec = spec_of({"name": "constant", "value": 0.1}, **{"run.dtype": "float64"})
    snapshots = list(train(spec))
    for replica in range(2):
        by_hand = width_one_losses(load_dataset(spec.data), spec, 0.1, 6, replica)
        found = [one.train_loss[replica] for one in snapshots[1:]]
        assert_allclose(found, by_hand, rtol=1e-9)
    assert by_hand[-1] < by_hand[0]  # it does learn something


def test_a_width_one_network_with_scaled_rates_is_the_tied_network():
    spec = spec_of({"name": "constant", "value": 0.1})
    dataset = load_dataset(spec.data)
    epochs = descend(
        width_one_parameters(0.1, 6, dataset),
        dataset,
        spec,
        replica=1,
        forward=plain_forward,
        factors=width_one_factors(6),
    )
    found = [one.train_loss for one in epochs][1:]
    by_hand = width_one_losses(dataset, spec, 0.1, 6, 1)
    assert_allclose(found, by_hand, rtol=1e-5)


def test_descent_in_plain_torch_is_the_descent_of_the_engine():
    spec = spec_of({"name": "glorot_uniform"})
    snapshots = list(train(spec))
    start = {
        f"{name}.{kind}": getattr(layer, kind)[1]
        for name, layer in snapshots[0].weights.items()
        for kind in "wb"
    }
    *_, last = descend(
        start, load_dataset(spec.data), spec, replica=1, forward=plain_forward
    )
    for name, layer in snapshots[-1].weights.items():
        torch.testing.assert_close(last.parameters[f"{name}.w"], layer.w[1])
    assert last.train_loss == pytest.approx(snapshots[-1].train_loss[1], rel=1e-5)


def test_units_of_constant_starts_stay_one_and_those_of_a_random_start_differ(results):
    distinct = results["distinct_units"]
    assert (distinct.sel(start=["constant 0.5", "constant 0.01", "zeros"]) == 1).all()
    assert (distinct.sel(start="glorot_uniform") == results.attrs["width"]).all()
    assert (results["spread"].sel(tie="none") == 0).all()


def test_theory_and_engine_agree_at_the_quick_scale(results):
    assert EXPERIMENT.summarize(results)["theory_gap"] < 1e-5


def test_a_zero_network_learns_the_frequencies_of_the_classes_alone(results):
    loss = results["train_loss"].sel(start="zeros").isel(epoch=-1)
    assert (loss > np.log(10) - 0.05).all()
    assert (results["active_share"].sel(start="zeros") == 0).all()


def test_dropout_breaks_the_tie_at_the_first_step(results):
    assert (results["spread"].sel(tie="dropout")[0] == 0).all()
    assert (results["spread"].sel(tie="dropout")[1] > 1e-6).all()


def test_scattered_sums_are_the_same_sums_up_to_rounding(rng):
    dataset = load_dataset("digits")
    x = torch.from_numpy(rng.normal(size=(5, 64)))
    parameters = {
        n: p.double() for n, p in constant_parameters(0.3, 7, dataset).items()
    }
    scattered = scattered_forward(64, 0, 0)
    torch.testing.assert_close(
        scattered(parameters, x), plain_forward(parameters, x), rtol=1e-12, atol=0
    )


def test_scattered_sums_of_equal_units_differ_in_the_last_bits_alone(rng):
    dataset = load_dataset("digits")
    column = torch.from_numpy(rng.normal(size=(64, 1))).float()
    parameters = constant_parameters(0.3, 64, dataset)
    parameters["hidden1.w"] = column.expand(64, 64).clone()
    # the outputs are the first units themselves, positive ones
    parameters["hidden2.w"] = torch.eye(64)
    parameters["output.w"] = torch.eye(64)
    parameters["output.b"] = torch.zeros(64)
    x = torch.from_numpy(rng.normal(size=(30, 64))).float()
    for forward, differs in (
        (plain_forward, False),
        (scattered_forward(64, 0, 0), True),
    ):
        a = forward(parameters, x)
        assert bool((a != a[:, :1]).any()) == differs
        assert (a - a[:, :1]).abs().max() < 1e-5


def test_the_spread_is_the_deviation_from_the_mean_unit(rng):
    u = rng.normal(size=40)
    signs = np.where(np.arange(60) % 2, 1, -1)
    w = 3 + 0.5 * u[:, None] * 0 + 0.03 * signs  # units 0.03 above and below a mean
    assert spread(w) == pytest.approx(0.03 / np.sqrt(9 + 0.03**2))
    assert spread(w.T) == pytest.approx(spread(w))
    assert spread(np.full((4, 5), 0.2, dtype=np.float32)) == 0
    assert spread(np.zeros((4, 5))) == 0


def test_the_time_until_units_are_apart_is_read_from_exponential_growth():
    epoch = np.arange(11)
    grown = 1e-4 * np.exp(epoch)  # passes 0.1 at ln 1000
    curves = np.stack([grown, np.full(11, 1e-3), np.full(11, 0.5)])
    made = xr.Dataset(
        {"spread": (("tie", "epoch", "replica"), curves[..., None])},
        {"tie": ["grows", "stays", "apart"], "epoch": epoch},
        {"apart": 0.1, "steps_per_epoch": 7},
    )
    found = apart_steps(made).to_numpy()[:, 0]
    assert found[0] == pytest.approx(7 * np.log(1000))
    assert np.isnan(found[1]) and found[2] == 0


def test_end_points_are_compared_in_weights_function_and_on_the_way(tmp_path):
    spec = spec_of(
        {"name": "glorot_uniform"},
        **{"run.replicas": 10, "record.weights": [3], "record.epochs": []},
    )
    shared = spec.with_settings(
        {"initialization": {"name": "dct"}, "training.batch_order": "shared"}
    )
    store, dataset = open_store(tmp_path, create=True), load_dataset(spec.data)
    for one in (spec, shared):
        run(one, store)
    found = compare_ends(["random", "same"], [spec, shared], store, dataset)
    start, end = (store.weights(spec.run_key, epoch) for epoch in (0, 3))

    def flat(weights, row):
        parts = [t[row].ravel() for _, x in weights.items() for t in (x.w, x.b)]
        return np.concatenate(parts)

    ways = [np.linalg.norm(flat(end, r) - flat(start, r)) for r in (0, 1)]
    between = np.linalg.norm(flat(end, 0) - flat(end, 1))
    first = found.sel(end_start="random").isel(pair=0)
    assert float(first["end_distance"]) == pytest.approx(
        between / np.mean(ways), rel=1e-5
    )
    assert (found.sel(end_start="random")["end_disagreement"] > 0).all()
    assert (found.sel(end_start="random")["end_barrier"] >= 0).all()
    for name in ("end_distance", "end_disagreement", "end_function_distance"):
        assert (found.sel(end_start="same")[name] == 0).all()


def test_shipped_constant_starts_have_one_unit_a_layer_for_ever(shipped):
    distinct = shipped["distinct_units"]
    assert (distinct.sel(start=["constant 0.5", "constant 0.01", "zeros"]) == 1).all()
    assert (distinct.sel(start="glorot_uniform") == 32).all()
    assert (shipped["spread"].sel(tie="none") == 0).all()


def test_shipped_losses_of_the_tied_network_are_those_of_width_one(shipped):
    facts = EXPERIMENT.summarize(shipped)
    assert facts["theory_gap"] < 1e-5
    random = facts["starts"]["glorot_uniform"]["loss"]
    assert random["high"] < facts["narrow_best"] / 100


def test_shipped_starts_of_dead_units_learn_the_frequencies_alone(shipped):
    loss = shipped["train_loss"].isel(epoch=-1).sel(start=["constant 0.5", "zeros"])
    assert_allclose(loss, np.log(10), atol=1e-3)
    assert (shipped["active_share"].sel(start=["constant 0.5", "zeros"]) == 0).all()


def test_shipped_ties_break_sooner_with_more_noise(shipped):
    steps = apart_steps(shipped).fillna(np.inf).median("replica")
    noises = [f"noise {noise:g}" for noise in (0.03, 1e-2, 1e-3, 1e-4)]
    assert (np.diff(steps.sel(tie=noises)) > 0).all()
    assert steps.sel(tie="dropout") < steps.sel(tie="noise 0.03")


def test_shipped_end_points_of_one_constant_lie_in_one_basin(shipped):
    ends = (
        shipped.sel(end_start="constant 0.01"),
        shipped.sel(end_start="random starts"),
    )
    assert ends[0]["end_barrier"].max() < 0.01 < ends[1]["end_barrier"].min()
    assert ends[0]["end_distance"].max() < ends[1]["end_distance"].min()
