"""Deterministic starts: null spaces, distances and gates against other libraries."""

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.testing import assert_allclose
from scipy import linalg
from scipy.spatial.distance import pdist

from birthmark.data import load_dataset
from birthmark.seeds import batch_order
from birthmark.spec import RunSpec
from birthmark.training import initial_configuration
from birthmark_experiments.deterministic_start.facts import fit_flips, summarize
from birthmark_experiments.deterministic_start.measure import (
    compare_spaces,
    flipped_share,
    read_distances,
    span_of_inputs,
    train_ntk,
    write_permuted,
)
from birthmark_experiments.deterministic_start.protocol import PERMUTED, list_specs
from birthmark_experiments.frame.probes import as_inputs


def small_spec(**settings) -> RunSpec:
    spec = RunSpec(
        data={"name": "digits", "examples_per_class": 3},
        network={"widths": [12]},
        initialization={"name": "lecun_normal"},
        training={"loss": "cross_entropy", "lr": 0.1, "batch_size": 8, "epochs": 2},
        run={"replicas": 2, "device": "cpu"},
    )
    return spec.with_settings(settings)


def test_angles_and_shares_of_spans_are_those_of_scipy(rng):
    start = rng.normal(size=(20, 6))
    end = start + 0.5 * rng.normal(size=(20, 6))
    span = linalg.orth(rng.normal(size=(20, 15)))
    found = compare_spaces(*map(torch.from_numpy, (start, end, span)))
    angles = linalg.subspace_angles(start, end)
    nulls = linalg.subspace_angles(linalg.null_space(start.T), linalg.null_space(end.T))
    assert found["row_overlap"] == pytest.approx((np.cos(angles) ** 2).mean())
    assert found["largest_angle"] == pytest.approx(np.rad2deg(nulls.max()))
    move = end - start
    into = start @ np.linalg.pinv(start) @ move
    assert found["row_share"] == pytest.approx((into**2).sum() / (move**2).sum())
    for key, w in (("outside_share", move), ("outside_start", start)):
        outside = linalg.null_space(span.T).T @ w
        share = np.linalg.norm(outside) / np.linalg.norm(w)
        assert found[key] == pytest.approx(share)


def test_the_span_of_the_inputs_holds_every_input_and_has_their_rank():
    dataset = load_dataset(small_spec().data)
    span, x = span_of_inputs(dataset), as_inputs(dataset, "train")[0].double()
    assert span.shape[1] == np.linalg.matrix_rank(x.numpy()) == 30
    torch.testing.assert_close(span @ (span.T @ x.T), x.T)


def test_plain_sgd_moves_the_first_layer_within_the_span_of_the_inputs(results):
    assert results.attrs["few_span"] < results.attrs["num_inputs"]
    assert (results["few_outside_start"] > 0.3).all()  # there is something to move
    assert (results["few_outside_share"] < 1e-5).all()


def test_an_input_moved_in_the_null_space_of_its_time_changes_no_output(results):
    change = results["output_change"]
    for move, moment in (("initial null space", "start"), ("final null space", "end")):
        assert (change.sel(move=move, moment=moment) < 1e-5).all()
    assert (change.sel(move="initial null space", moment="end") > 0.01).all()
    assert (change.sel(move="any direction", moment="end") > 0.01).all()
    lengths = results["move_length"]
    assert_allclose(
        lengths.sel(move="any direction"),
        lengths.sel(move="initial null space"),
        rtol=1e-5,
    )


def test_distances_are_those_of_scipy(rng):
    x, h = rng.normal(size=(12, 5)), rng.normal(size=(12, 7))
    y = np.arange(12) % 3
    found = read_distances(*map(torch.from_numpy, (h, y, x)))
    ratio = pdist(h) / pdist(x)
    assert found[0] == pytest.approx(ratio.std(ddof=1) / ratio.mean())
    same = pdist(y[:, None]) == 0
    assert found[1] == pytest.approx(pdist(h)[~same].mean() / pdist(h)[same].mean())
    scaled = read_distances(torch.from_numpy(3 * x), *map(torch.from_numpy, (y, x)))
    assert scaled[0] == pytest.approx(0, abs=1e-6)


def test_flipped_gates_are_counted():
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    start = (torch.tensor([[1.0, -1.0], [1.0, 1.0]]), torch.zeros(2))
    end = (torch.tensor([[1.0, 1.0], [-1.0, 1.0]]), torch.zeros(2))
    assert flipped_share(start, start, x) == 0
    assert flipped_share(start, end, x) == 2 / 4


def test_scaled_rates_are_the_ntk_parametrization_written_out():
    """Weights N(0, 1) and biases times 1 / sqrt(fan-in) in the forward pass."""
    spec, lr = small_spec(), 3.0
    dataset = load_dataset(spec.data)
    x_NI, y_N = as_inputs(dataset, "train")
    start = initial_configuration(spec)
    for replica in range(2):
        scales = {"hidden1": 64**-0.5, "output": 12**-0.5}
        free = {
            (name, kind): (getattr(layer, kind)[replica] / scales[name])
            .clone()
            .requires_grad_()
            for name, layer in start.items()
            for kind in "wb"
        }
        for epoch in range(2):
            order = torch.from_numpy(batch_order(0, replica, epoch, len(y_N)))
            for batch in torch.split(order, 8):
                a = x_NI[batch]
                for name, scale in scales.items():
                    a = scale * (a @ free[name, "w"] + free[name, "b"])
                    a = torch.relu(a) if name == "hidden1" else a
                loss = torch.nn.functional.cross_entropy(a, y_N[batch])
                gradients = torch.autograd.grad(loss, list(free.values()))
                with torch.no_grad():
                    for tensor, gradient in zip(free.values(), gradients, strict=True):
                        tensor -= lr * gradient
        before = (start["hidden1"].w[replica], start["hidden1"].b[replica])
        after = tuple(scales["hidden1"] * free["hidden1", kind] for kind in "wb")
        flips, _ = train_ntk(spec, dataset, x_NI, lr)
        assert flips[replica] == pytest.approx(flipped_share(before, after, x_NI))
        assert flips[replica] > 0


def test_the_exponent_is_that_of_a_made_law(rng):
    widths = np.array([16, 64, 256])
    fits = []
    for _ in range(40):
        noise = 1 + 0.01 * rng.normal(size=(1, 3, 4))
        flips = 0.8 * widths[None, :, None] ** -0.5 * noise
        made = xr.Dataset(
            {"flips": (("parametrization", "width", "replica"), flips)},
            {"parametrization": ["made"], "width": widths},
        )
        fits.append(fit_flips(made, "made"))
    assert [fit.exponent for fit in fits] == pytest.approx([0.5] * 40, abs=0.02)
    covered = [fit.low < 0.5 < fit.high for fit in fits]
    assert np.mean(covered) > 0.85  # 0.95 of forty


def test_permuted_pixels_are_the_same_matrix_for_shuffled_images(tmp_path):
    """Each replica has an order of its own; sums over pixels do not know it."""
    spec = small_spec(**{"network.widths": [12, 12]})
    write_permuted(spec, tmp_path / "dct.npz")
    found = list_specs(spec, ("dct", PERMUTED), str(tmp_path / "dct.npz"))
    plain, other = (initial_configuration(found[name]) for name in ("dct", PERMUTED))
    rows = {tuple(row): i for i, row in enumerate(plain["hidden1"].w[0].tolist())}
    orders = [[rows[tuple(r)] for r in w.tolist()] for w in other["hidden1"].w]
    assert all(sorted(order) == list(range(len(rows))) for order in orders)
    assert orders[0] != orders[1] != sorted(orders[1])
    torch.testing.assert_close(other["hidden2"].w, plain["hidden2"].w)
    assert not other["hidden1"].b.any()


def test_starts_without_chance_are_alike_in_all_replicas(results):
    spread = results["outside_start"].std("replica")
    assert float(spread.sel(initialization="dct")) == 0
    assert float(spread.sel(initialization="orthogonal")) > 0


def test_shipped_moves_of_plain_sgd_stay_in_the_span_of_the_inputs(shipped):
    assert shipped.attrs["few_span"] == 300  # as many as there are images
    assert (shipped["few_outside_share"] < 1e-5).all()
    assert (shipped["outside_share"] < 1e-4).all()


def test_shipped_null_spaces_are_blind_in_their_own_time_alone(shipped):
    change = shipped["output_change"]
    for move, moment in (("initial null space", "start"), ("final null space", "end")):
        assert (change.sel(move=move, moment=moment).fillna(0) < 1e-5).all()
    assert (change.sel(move="initial null space", moment="end") > 0.1).all()


def test_shipped_gates_follow_the_lazy_law_where_hardly_any_flip(shipped):
    short = fit_flips(shipped, "ntk, a tenth of the rate")
    assert short.low - 0.05 < 0.5 < short.high + 0.05
    assert fit_flips(shipped, "ntk").high < short.low
    flips = shipped["flips"].mean("gate_replica")
    assert (flips.diff("width") < 0).all()


def test_shipped_cosines_gain_by_knowing_the_order_of_pixels(shipped):
    """The same matrix for shuffled pixels is no better than a random one."""
    found = summarize(shipped).differences["test_accuracy"]
    assert found["dct"]["is_distinguished"] and found["dct"]["mean"] > 0
    assert found[PERMUTED]["mean"] < 0
