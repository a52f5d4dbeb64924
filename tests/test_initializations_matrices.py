"""Laws of matrices by what they are for: isometries, identities, counts, cosines."""

import math

import numpy as np
import pytest
import scipy.fft
import scipy.stats
import torch
from torch.nn.functional import conv2d

from birthmark.network import draw

RNG = np.random.default_rng(3)


def matrix(rule, shape, **options):
    return draw(rule, shape, tensor="w", dtype=np.float64, **options)


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (3, 2, 4, 20), (2, 2, 3, 20)])
def test_orthogonal_draws_have_orthonormal_rows_or_columns(shape):
    w = matrix({"name": "orthogonal", "gain": 2.0}, shape).reshape(-1, shape[-1])
    small = w.T @ w if w.shape[0] > w.shape[1] else w @ w.T
    np.testing.assert_allclose(small, 4 * np.eye(min(w.shape)), atol=1e-12)


def test_orthogonal_draws_are_haar():
    """Each entry of a Haar matrix has Beta-distributed squares and an even sign."""
    draws = np.array([matrix("orthogonal", (5, 5), seed=seed) for seed in range(400)])
    # without the sign fix the diagonal would lean to one side
    for row in range(5):
        assert abs(np.sign(draws[:, row, row]).mean()) < 5 / math.sqrt(400)
    squares = scipy.stats.beta(1 / 2, 4 / 2)
    assert scipy.stats.kstest(draws[:, 2, 3] ** 2, squares.cdf).pvalue > 1e-3


def wrapped(images, kernel):
    """A convolution of images whose edges meet, so that no place is cut off."""
    side = kernel.shape[-1] // 2
    padded = torch.nn.functional.pad(images, (side,) * 4, mode="circular")
    return conv2d(padded, kernel)


def kernel_of(rule, shape):
    return torch.from_numpy(matrix(rule, shape, layout="OI"))


IMAGES = torch.from_numpy(RNG.normal(size=(2, 6, 7, 7)))


def test_a_delta_orthogonal_convolution_keeps_the_norm_of_images():
    out = wrapped(IMAGES, kernel_of("delta_orthogonal", (9, 6, 3, 3)))
    torch.testing.assert_close(
        out.flatten(1).norm(dim=1), IMAGES.flatten(1).norm(dim=1)
    )


@pytest.mark.parametrize("rule", ["identity", "zero_hadamard"])
def test_an_identity_convolution_gives_images_back(rule):
    out = wrapped(IMAGES, kernel_of(rule, (6, 6, 5, 5)))
    torch.testing.assert_close(out, IMAGES)
    fewer = wrapped(IMAGES, kernel_of(rule, (4, 6, 3, 3)))
    torch.testing.assert_close(fewer, IMAGES[:, :4])


def test_a_growing_layer_of_zer_o_is_an_isometry_on_powers_of_two():
    w = matrix("zero_hadamard", (12, 32))
    np.testing.assert_allclose(w @ w.T, np.eye(12), atol=1e-12)
    assert set(np.round(np.abs(w).ravel(), 12)) == {round(32**-0.5, 12)}


def test_a_network_that_looks_linear_is_linear_through_its_relus(rng):
    sizes = [(10, 24, "outputs"), (24, 24, "both"), (24, 40, "both"), (40, 6, "inputs")]
    weights = [
        draw(
            {"name": "looks_linear", "mirror": mirror},
            (fan_in, fan_out),
            tensor=f"layer{index}",
            dtype=np.float64,
        )
        for index, (fan_in, fan_out, mirror) in enumerate(sizes)
    ]

    def forward(x):
        for w in weights[:-1]:
            x = np.maximum(x @ w, 0)
        return x @ weights[-1]

    x, y = rng.normal(size=(2, 8, 10))
    np.testing.assert_allclose(
        forward(2 * x - y), 2 * forward(x) - forward(y), atol=1e-9
    )
    # an isometry as far as the mirrored halves are square or grow
    halves = np.maximum(x @ weights[0], 0)
    np.testing.assert_allclose(
        np.linalg.norm(halves[:, :12] - halves[:, 12:], axis=1),
        np.linalg.norm(x, axis=1),
    )


def test_sparse_counts_by_unit_and_torch_sparse_by_input():
    martens = matrix({"name": "sparse", "num_inputs": 7}, (3, 3, 5, 40))
    assert ((martens != 0).reshape(-1, 40).sum(axis=0) == 7).all()
    few = matrix({"name": "sparse", "num_inputs": 7}, (4, 40))
    assert (few != 0).all()
    theirs = matrix({"name": "torch_sparse", "sparsity": 0.33}, (50, 40))
    expected = torch.nn.init.sparse_(torch.empty(40, 50), 0.33)
    zeros = (expected == 0).sum(dim=0).unique()
    assert ((theirs == 0).sum(axis=1) == zeros.item()).all()


def test_units_of_nguyen_and_widrow_have_one_norm():
    w = matrix("nguyen_widrow", (5, 60))
    np.testing.assert_allclose(np.linalg.norm(w, axis=0), 0.7 * 60 ** (1 / 5))
    assert len(np.unique(np.sign(w), axis=1).T) > 20  # directions of all orthants


def test_signed_constants_are_two_numbers_with_even_odds():
    w = matrix({"name": "signed_constant", "mode": "fan_avg"}, (100, 60))
    assert set(np.abs(w).ravel()) == {math.sqrt(2 / 80)}
    assert abs(np.sign(w).mean()) < 5 / math.sqrt(6000)


def test_one_weight_a_unit_of_the_asymmetric_start_is_beta_distributed():
    w = matrix("randomized_asymmetric", (2000, 600))
    largest = w.max(axis=0)
    # normal weights stay below 5 std, 0.067, where Beta(2, 1) has 0.5 % of its mass
    assert scipy.stats.kstest(largest, scipy.stats.beta(2, 1).cdf).pvalue > 1e-3
    assert ((w > 0.08).sum(axis=0) <= 1).all()


def test_units_of_the_cosine_start_compute_the_cosine_transform(rng):
    x = rng.normal(size=(4, 20))
    np.testing.assert_allclose(
        x @ matrix("dct", (20, 12)), scipy.fft.dct(x, norm="ortho")[:, :12], atol=1e-12
    )
    np.testing.assert_allclose(
        x @ matrix("dct", (20, 50)),
        scipy.fft.idct(np.pad(x, ((0, 0), (0, 30))), norm="ortho"),
        atol=1e-12,
    )


def test_hadamard_units_are_orthogonal_on_powers_of_two():
    w = matrix({"name": "hadamard", "gain": 3.0}, (64, 40))
    np.testing.assert_allclose(w.T @ w, 9 * np.eye(40), atol=1e-12)


def test_each_input_of_the_sobol_start_has_one_weight_in_each_cell():
    w = matrix("sobol", (30, 64))
    cells = np.floor((w / math.sqrt(3 / 30) + 1) / 2 * 64).astype(int)
    assert (np.sort(cells, axis=1) == np.arange(64)).all()
