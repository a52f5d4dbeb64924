"""Convolutions as stacked matrices: drawn, marked and measured as torch's kernels."""

import numpy as np
import pytest
import torch
from torch import nn

import birthmark as bm
from birthmark.data import describe_dataset
from birthmark.errors import SpecError
from birthmark.measurements import measure
from birthmark.network import (
    Chain,
    draw,
    draw_weights,
    find_bounds,
    find_laws,
    find_mark,
    to_matrix,
    to_module,
)
from birthmark.shapes import Layer, Weights
from birthmark.spec import RunSpec
from birthmark.sweeps import pipeline

SHAPE = (3, 9, 8)  # channels, height, width
SIZES = (3 * 9 * 8, 10)
NETWORK = {"kind": "convolutional", "widths": [6, 8, 8], "downsample": [2]}


def make_spec(rule, network=NETWORK, **tables):
    return RunSpec(
        data={"name": "digits"},
        network=network,
        initialization={"name": rule} if isinstance(rule, str) else rule,
        run={"replicas": 2, "dtype": "float64", "seed": 4},
        **tables,
    )


@pytest.mark.parametrize(
    "rule", ["he_normal", "glorot_uniform", "torch_default", "delta_orthogonal", "dct"]
)
def test_a_kernel_is_the_draw_of_its_name_in_torchs_layout(rule):
    network = {**NETWORK, "widths": [6, 8, 10]}
    weights = draw_weights(
        make_spec(rule, network), *SIZES, replicas=[0, 1], image_shape=SHAPE
    )
    for name, (num_in, num_out) in {
        "hidden1": (3, 6),
        "hidden2": (6, 8),
        "hidden3": (8, 10),
    }.items():
        kernel = draw(
            rule,
            (num_out, num_in, 3, 3),
            tensor=f"{name}.w",
            seed=4,
            replica=1,
            layout="OI",
            dtype=np.float64,
        )
        as_torch = torch.from_numpy(kernel).flatten(1).T
        torch.testing.assert_close(weights[name].w[1], as_torch, rtol=0, atol=0)
    assert weights["output"].w.shape == (2, 10, 10)


def test_fans_of_a_convolution_count_its_patch():
    laws = find_laws(make_spec("he_normal"), *SIZES, num_channels=3)
    fans = {name: layer.fan_in for name, layer in laws.items()}
    assert fans == {"hidden1": 27, "hidden2": 54, "hidden3": 72, "output": 8}
    for name, fan_in in fans.items():
        assert laws[name].weights.std == pytest.approx((2 / fan_in) ** 0.5)
    glorot = find_laws(make_spec("glorot_normal"), *SIZES, num_channels=3)
    assert glorot["hidden2"].weights.std == pytest.approx((2 / (54 + 72)) ** 0.5)
    bounds = find_bounds(make_spec("torch_default"), *SIZES, num_channels=3)
    assert bounds["hidden1"][0] == pytest.approx(27**-0.5)


def test_matrices_have_the_rows_of_unfolded_patches():
    draws = np.random.default_rng(0)
    kernel = draws.normal(size=(3, 3, 2, 5))  # [height, width, I, O]
    image = torch.from_numpy(draws.normal(size=(1, 2, 6, 7)))
    patches = nn.functional.unfold(image, 3, padding=1)[0].T.numpy()
    by_hand = np.zeros((6, 7, 5))
    padded = np.pad(image[0].numpy(), ((0, 0), (1, 1), (1, 1)))
    for row in range(6):
        for column in range(7):
            patch = padded[:, row : row + 3, column : column + 3]
            by_hand[row, column] = np.einsum("ihw,hwio->o", patch, kernel)
    np.testing.assert_allclose(
        (patches @ to_matrix(kernel)).reshape(6, 7, 5), by_hand, rtol=1e-12
    )


def test_a_module_of_a_replica_gives_what_torch_layers_give():
    spec = make_spec("he_normal")
    weights = draw_weights(spec, *SIZES, replicas=[0, 1], image_shape=SHAPE)
    module = to_module(weights, Chain(spec.network, SHAPE), row=1)
    x = torch.rand(4, *SHAPE, dtype=torch.float64)
    layers = dict(module.named_children())
    assert isinstance(layers["hidden2"], nn.Conv2d)
    a = x
    for name in ("hidden1", "hidden2", "hidden3"):
        w, b = layers[name].weight, layers[name].bias
        stride = 2 if name == "hidden2" else 1
        a = torch.relu(nn.functional.conv2d(a, w, b, stride, padding=1))
    z = a.mean(dim=(2, 3)) @ weights["output"].w[1] + weights["output"].b[1]
    torch.testing.assert_close(module(x.flatten(1)), z)


@pytest.mark.parametrize("residual", ["none", "identity"])
def test_lsuv_gives_every_convolution_unit_variance(residual):
    network = {**NETWORK, "residual": residual}
    x = torch.rand(64, SIZES[0], dtype=torch.float64)
    y = torch.arange(64) % 10
    spec = make_spec({"name": "lsuv", "tolerance": 0.02}, network)
    weights = draw_weights(spec, *SIZES, replicas=[0], image_shape=SHAPE, batch=(x, y))
    module = to_module(weights, Chain(spec.network, SHAPE))
    seen = {}
    for name, layer in module.named_children():
        layer.register_forward_hook(
            lambda _m, _x, z, name=name: seen.update({name: z.var().item()})
        )
    module(x)
    assert list(seen) == ["hidden1", "hidden2", "hidden3", "output"]
    assert all(abs(variance - 1) < 0.05 for variance in seen.values()), seen


def moved():
    """A stack of kernels and what became of it, [R, O, I, k, k] in NumPy."""
    draws = np.random.default_rng(1)
    start = draws.uniform(-0.2, 0.2, (2, 6, 4, 3, 3))
    start[0, 3] = start[0, 1]  # two units of replica 0 are the same
    now = start + 0.05 * draws.normal(size=start.shape)
    now[0, 3] = now[0, 1]
    return start, now


def as_weights(kernels):
    w_ROI = torch.from_numpy(kernels).flatten(2)
    bias = torch.zeros(w_ROI.shape[:2], dtype=torch.float64)
    return Weights({"hidden1": Layer(w_ROI.transpose(1, 2), bias)})


def test_measurements_of_a_convolution_are_those_of_its_flattened_tensor():
    start, now = moved()
    bounds = {"hidden1": (0.2, 0.2)}
    found = measure(as_weights(start), as_weights(now), bounds=bounds).isel(layer=0)
    for replica in range(2):
        one = found.isel(replica=replica)
        w0, w1 = start[replica].ravel(), now[replica].ravel()
        assert one["distance"] == pytest.approx(np.linalg.norm(w1 - w0))
        assert one["relative_distance"] == pytest.approx(
            np.linalg.norm(w1 - w0) / np.linalg.norm(w0)
        )
        assert one["deviation_std"] == pytest.approx((w1 - w0).std())
        change = (now - start)[replica].reshape(6, -1)
        sigma = np.linalg.svd(change, compute_uv=False)
        assert one["spectral_distance"] == pytest.approx(sigma[0])
        share = sigma / sigma.sum()
        entropy = -(share[share > 0] * np.log(share[share > 0])).sum()
        assert one["effective_rank"] == pytest.approx(np.exp(entropy), rel=2e-3)
        edges = found["bin_edge"].values * 0.2
        inside = edges.copy()
        inside[[0, -1]] = -np.inf, np.inf
        counts = one["joint_count"].values
        np.testing.assert_array_equal(counts.sum(axis=1), np.histogram(w0, inside)[0])
        assert counts.sum() == w0.size
    assert found["distinct_units"].values.tolist() == [5, 6]


def test_a_mark_is_drawn_into_the_matrix_of_a_convolution():
    network = {"kind": "convolutional", "widths": [24, 32], "downsample": [1, 2]}
    spec = make_spec("he_normal", network, mark={"text": "a", "layer": "hidden2"})
    mark = find_mark(spec, *SIZES, num_channels=3)
    assert mark.mask_IO.shape == (24 * 9, 32)
    weights = draw_weights(spec, *SIZES, replicas=[0], image_shape=SHAPE)
    assert (weights["hidden2"].w[0].numpy() == 0)[mark.mask_IO].all()
    twin = draw_weights(spec.twin, *SIZES, replicas=[0], image_shape=SHAPE)
    found = measure(twin, weights, mark=mark)
    assert found["mark_auc"].sel(layer="hidden2").item() == 1


def test_a_mark_too_large_for_a_convolution_is_refused_in_one_line():
    network = {"kind": "convolutional", "widths": [1, 1]}
    text = "a long text indeed"
    spec = make_spec("he_normal", network, mark={"text": text, "layer": "hidden1"})
    with pytest.raises(SpecError, match="cannot be drawn") as caught:
        find_mark(spec, *SIZES, num_channels=3)
    assert "\n" not in str(caught.value)


def test_a_stopped_run_goes_on_to_the_same_records_and_scales(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "CHECKPOINT_SECONDS", 0)
    network = {
        **NETWORK,
        "residual": "identity",
        "branch_scale": 0.0,
        "train_scales": True,
        "dropout": 0.2,
    }
    spec = RunSpec(
        data={"name": "digits", "examples_per_class": 8},
        network=network,
        mark={"text": "a", "layer": "hidden3", "mode": "scale", "value": 2.0},
        training={"epochs": 3, "batch_size": 16, "optimizer": "adam", "lr": 0.01},
        run={"replicas": 2, "device": "cpu"},
        record={"weights": [3]},
    )

    def stop(progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bm.run(spec, store=tmp_path, watch=stop)
    store = bm.open_store(tmp_path)
    assert 0 < store.records(spec.run_key).sizes["step"] < 4
    assert bm.run(spec, store=tmp_path).records.sizes["step"] == 4
    records = store.records(spec.run_key)
    assert (records["cannot_move"].sel(layer="hidden1") == 0).all()

    start, *_, last = bm.train(spec)
    for name, layer in last.weights.items():
        kept = store.weights(spec.run_key, 3)[name]
        np.testing.assert_array_equal(kept.w, layer.w.numpy())
        moved = (layer.w - start.weights[name].w).norm(dim=(1, 2))
        found = records["distance"].sel(layer=name).isel(step=-1)
        np.testing.assert_allclose(found, moved, rtol=1e-5)
        if name == "hidden3":
            np.testing.assert_array_equal(kept.scale, layer.scale.numpy())
            assert (kept.scale != 0).all()
        else:
            assert kept.scale is None


def test_colours_are_channels_of_the_first_convolution():
    facts = describe_dataset("cifar10")
    assert (facts.num_channels, facts.num_inputs) == (3, 3072)
    laws = find_laws(
        make_spec("he_normal"),
        facts.num_inputs,
        facts.num_classes,
        num_channels=facts.num_channels,
    )
    assert laws["hidden1"].target.shape == (3, 3, 3, 6)
    spec = RunSpec(data={"name": "cifar10"}, network=NETWORK, run={"replicas": 2})
    weights = bm.initial_configuration(spec)
    assert weights["hidden1"].w.shape == (2, 27, 6)
    assert weights["output"].w.shape == (2, 8, 10)
