"""Krähenbühl's data-dependent directions, against NumPy, scikit-learn and by design."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from birthmark.errors import SpecError, WeightsError
from birthmark.network import draw_weights, forward_stack, initialize_
from birthmark.network.initializations.directions import patches_of, spherical_kmeans
from birthmark.network.initializations.observing import layers_in_order
from birthmark.spec import RunSpec

GENERATOR = torch.Generator().manual_seed(4)
MIXING = torch.randn(12, 12, generator=GENERATOR)
X = torch.randn(300, 12, generator=GENERATOR) @ MIXING + 1
Y = torch.randint(0, 4, (300,), generator=GENERATOR)
IMAGES = torch.randn(40, 3, 9, 9, generator=GENERATOR)


def mlp():
    return nn.Sequential(
        nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)
    )


def cosines(a, b):
    a = a / np.linalg.norm(a, axis=1, keepdims=True)
    b = b / np.linalg.norm(b, axis=1, keepdims=True)
    return (a * b).sum(axis=1)


def test_units_of_pca_are_the_principal_components_of_each_layers_inputs():
    net = mlp()
    rule = {"name": "krahenbuhl", "directions": "pca", "rounds": 0}
    initialize_(net, rule, batch=(X, Y))
    for place, count in ((0, 8), (2, 8), (4, 4)):
        inputs = net[:place](X).detach().double().numpy()
        found = PCA(count, svd_solver="full").fit(inputs).components_
        weights = net[place].weight.detach().double().numpy()[:count]
        np.testing.assert_allclose(abs(cosines(weights, found)), 1, atol=1e-4)


def test_units_beyond_the_rank_keep_their_draw():
    net, drawn = mlp(), mlp()
    rule = {"name": "krahenbuhl", "directions": "pca", "rounds": 0}
    initialize_(net, rule, batch=(X, Y))
    initialize_(drawn, "lecun_normal")
    tails = [one[2].weight.detach().numpy()[8:] for one in (net, drawn)]
    np.testing.assert_allclose(cosines(*tails), 1, atol=1e-6)


@pytest.mark.parametrize("directions", ["pca", "kmeans"])
def test_units_have_mean_0_and_variance_1_and_replicas_differ(directions):
    nets = [mlp(), mlp()]
    rule = {"name": "krahenbuhl", "directions": directions, "rounds": 0}
    for replica, net in enumerate(nets):
        initialize_(net, rule, replica=replica, batch=(X, Y))
        for end in (1, 3, 5):
            z = net[:end](X)
            torch.testing.assert_close(
                z.mean(0), torch.zeros_like(z[0]), atol=1e-4, rtol=0
            )
            torch.testing.assert_close(
                z.std(0, correction=0), torch.ones_like(z[0]), atol=1e-4, rtol=0
            )
    assert not torch.allclose(nets[0][0].weight, nets[1][0].weight, atol=1e-2)


def test_kmeans_finds_the_lines_from_which_points_were_made():
    lines = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0][:3]
    random = np.random.default_rng(1)
    points = random.normal(size=(400, 1)) * lines[random.integers(3, size=400)]
    points += 0.01 * random.normal(size=points.shape)
    start = lines + 0.3 * random.normal(size=lines.shape)
    found = spherical_kmeans(torch.tensor(points), torch.tensor(start)).numpy()
    np.testing.assert_allclose(abs(cosines(found, lines)), 1, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)


def test_a_centroid_without_points_stays():
    points = torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    found = spherical_kmeans(points, torch.tensor([[3.0, 0.1, 0.0], [0.0, 0.0, 2.0]]))
    torch.testing.assert_close(found[1], torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(
        found[0], torch.tensor([1.0, 0.0, 0.0]), atol=1e-3, rtol=0
    )


def test_kmeans_on_whitened_inputs_takes_mixed_sources_apart():
    """Of sources that are on one at a time, each has a unit that hears it alone."""
    generator = torch.Generator().manual_seed(0)
    sources = torch.zeros(600, 3)
    on = torch.randint(0, 3, (600,), generator=generator)
    sources[torch.arange(600), on] = torch.randn(600, generator=generator)
    mixing = torch.tensor([[2.0, 0.0, 0.0], [1.5, 1.0, 0.0], [1.0, 0.5, 1.0]])
    net = nn.Linear(3, 12)
    rule = {"name": "krahenbuhl", "directions": "kmeans", "rounds": 0}
    y = torch.zeros(600, dtype=torch.long)
    initialize_(net, rule, batch=(sources @ mixing, y))
    heard = (net.weight.detach() @ mixing.T).abs()
    heard = heard / heard.sum(dim=1, keepdim=True)
    assert (heard.amax(dim=0) > 0.95).all()


@pytest.mark.parametrize(
    "options",
    [{"padding": 1}, {"stride": 2}, {"padding": "same"}, {"padding": 1, "dilation": 2}],
)
def test_patches_are_those_that_unfold_cuts(options):
    conv = nn.Conv2d(3, 5, 3, **options)
    net = nn.Sequential(conv)
    layer = layers_in_order(net, IMAGES, ["0.weight"])[0]
    unfolding = options | ({"padding": 1} if options.get("padding") == "same" else {})
    expected = nn.functional.unfold(IMAGES, 3, **unfolding)
    torch.testing.assert_close(
        patches_of(net, layer, IMAGES), expected.mT.flatten(0, 1)
    )


@pytest.mark.parametrize("directions", ["pca", "kmeans"])
def test_convolutions_are_turned_to_their_patches(directions):
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    rule = {"name": "krahenbuhl", "directions": directions, "rounds": 0}
    initialize_(net, rule, batch=(IMAGES, Y[:40]))
    z = net(IMAGES).movedim(1, -1).flatten(0, -2)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(4), atol=1e-3, rtol=0)
    if directions == "pca":
        patches = nn.functional.unfold(IMAGES, 3).mT.flatten(0, 1).double().numpy()
        found = PCA(8, svd_solver="full").fit(patches).components_
        weights = net[0].weight.detach().flatten(1).double().numpy()
        np.testing.assert_allclose(abs(cosines(weights, found)), 1, atol=1e-3)


def test_a_run_can_start_from_them():
    rule = {"name": "krahenbuhl", "directions": "pca", "rounds": 0}
    spec = RunSpec(
        data={"name": "digits"},
        network={"widths": [8, 8]},
        initialization=rule,
        run={"replicas": 2, "dtype": "float64"},
    )
    weights = draw_weights(spec, 12, 4, replicas=[0, 1], batch=(X, Y))
    z_RBK = forward_stack(weights, X.double(), "relu")
    torch.testing.assert_close(
        z_RBK.std(1, correction=0), torch.ones(2, 4, dtype=torch.float64)
    )


def test_what_cannot_be_turned_is_refused_untouched():
    grouped = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2))
    before = grouped[0].weight.detach().clone()
    rule = {"name": "krahenbuhl", "directions": "pca"}
    with pytest.raises(WeightsError, match="grouped convolution"):
        initialize_(grouped, rule, batch=(IMAGES[:, :1].repeat(1, 4, 1, 1), Y[:40]))
    torch.testing.assert_close(grouped[0].weight.detach(), before, rtol=0, atol=0)
    with pytest.raises(WeightsError, match="same for the whole batch"):
        initialize_(mlp(), rule, batch=(torch.ones(5, 12), Y[:5]))
    with pytest.raises(WeightsError, match="given NaN or Inf"):
        initialize_(mlp(), rule, batch=(torch.full((5, 12), torch.nan), Y[:5]))
    with pytest.raises(SpecError, match="directions is one of drawn, pca, kmeans"):
        initialize_(mlp(), {"name": "krahenbuhl", "directions": "ica"}, batch=(X, Y))
