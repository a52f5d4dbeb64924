"""Sharpness: against dense Hessians, a closed form, another library, and training."""

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.testing import assert_allclose
from scipy.stats import mannwhitneyu

from birthmark.data import load_dataset
from birthmark.store import open_store
from birthmark.theory import find_top, read_batch_sharpness
from birthmark_experiments.frame.probes import as_inputs
from birthmark_experiments.sharpness import EXPERIMENT
from birthmark_experiments.sharpness.facts import find_area, find_fates, weigh_law
from birthmark_experiments.sharpness.measure import read_moments
from birthmark_experiments.sharpness.protocol import (
    PROTOCOLS,
    Condition,
    find_looks,
    list_arms,
    spec_of,
)
from birthmark_experiments.sharpness.readings import (
    choose_sample,
    list_batches,
    make_loss,
    read_curvature,
    take_parameters,
)

QUICK = PROTOCOLS["quick"]
NAMES = ("cross_entropy", "clipped_cross_entropy")


def tiny(sizes=(5, 4, 4, 3), num=20, seed=0):
    """Parameters, inputs and classes of a small network, float64."""
    rng = np.random.default_rng(seed)
    shapes = list(zip(sizes[:-1], sizes[1:], strict=True))
    parameters = tuple(
        torch.tensor(0.5 * rng.normal(size=shape))
        for i, o in shapes
        for shape in ((i, o), (o,))
    )
    x = torch.tensor(rng.normal(size=(num, sizes[0])) + 1)
    return parameters, x, torch.tensor(rng.integers(0, sizes[-1], num))


def dense_hessian(parameters, x, y, *, clip=None) -> np.ndarray:
    """All second derivatives, from a forward pass and a loss written here."""
    sizes = [p.numel() for p in parameters]

    def loss(flat):
        pieces = torch.split(flat, sizes)
        p = [v.view_as(q) for v, q in zip(pieces, parameters, strict=True)]
        a = x
        for place in range(0, len(p), 2):
            a = (a if place == 0 else a.clamp(min=0)) @ p[place] + p[place + 1]
        true = torch.log_softmax(a, dim=1)[torch.arange(len(y)), y]
        if clip:
            true = true[(true > np.log(clip)) & (true < np.log(1 - clip))]
        return -true.sum() / len(y)

    flat = torch.cat([p.flatten() for p in parameters])
    return torch.autograd.functional.hessian(loss, flat).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_the_sharpness_is_the_largest_eigenvalue_of_the_dense_hessian(name):
    for seed in range(3):
        parameters, x, y = tiny(seed=seed)
        clip = 0.05 if name == "clipped_cross_entropy" else None
        values, vectors = np.linalg.eigh(dense_hessian(parameters, x, y, clip=clip))
        top = find_top(make_loss(name, 0.05, x, y), parameters, tol=1e-8)
        assert_allclose(top.value, values[-1], rtol=1e-6)
        flat = np.concatenate([v.numpy().ravel() for v in top.vector])
        assert_allclose(abs(flat @ vectors[:, -1]), 1, rtol=1e-6)
        rough = find_top(make_loss(name, 0.05, x, y), parameters)
        assert_allclose(rough.value, values[-1], rtol=1e-2)


def test_the_sharpness_is_that_of_a_library_made_for_it():
    library = pytest.importorskip("hessian_eigenthings")
    parameters, x, y = tiny(sizes=(6, 8, 5), num=50)
    layers = []
    for place in range(0, len(parameters), 2):
        w, b = parameters[place], parameters[place + 1]
        linear = torch.nn.Linear(*w.shape, dtype=torch.float64)
        linear.weight.data, linear.bias.data = w.T.contiguous(), b
        layers += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    operator = library.HessianOperator(
        model,
        [(x, y)],
        lambda m, batch: torch.nn.functional.cross_entropy(m(batch[0]), batch[1]),
    )
    found = library.lanczos(
        operator, k=1, which="LA", max_iter=60, tol=1e-8, seed=0
    ).eigenvalues
    ours = find_top(make_loss("cross_entropy", 0.1, x, y), parameters, tol=1e-6)
    assert_allclose(ours.value, float(found[0]), rtol=1e-4)


def test_a_loss_that_abandons_all_examples_is_flat():
    parameters, x, y = tiny()
    outputs = parameters[:-1] + (parameters[-1] + torch.tensor([0.0, 0.0, 1e4]),)
    loss = make_loss("clipped_cross_entropy", 1e-3, x, torch.zeros_like(y))
    top = find_top(loss, outputs)
    assert top.value == 0
    assert not any(v.any() for v in top.vector)
    assert np.isnan(read_batch_sharpness([loss], outputs))


@pytest.mark.parametrize("name", NAMES)
def test_the_batch_sharpness_is_the_mean_curvature_along_gradients_of_batches(name):
    parameters, x, y = tiny(num=30)
    clip = 0.05 if name == "clipped_cross_entropy" else None
    expected = []
    losses = []
    for part in np.split(np.arange(30), 3):
        loss = make_loss(name, 0.05, x[part], y[part])
        losses.append(loss)
        leaves = tuple(p.clone().requires_grad_() for p in parameters)
        g = torch.cat([s.flatten() for s in torch.autograd.grad(loss(leaves), leaves)])
        hessian = dense_hessian(parameters, x[part], y[part], clip=clip)
        expected.append(g.numpy() @ hessian @ g.numpy() / float(g @ g))
    assert_allclose(read_batch_sharpness(losses, parameters), np.mean(expected))


def test_shares_of_the_top_direction_are_those_of_the_dense_hessian():
    parameters, x, y = tiny()
    spec = spec_of(QUICK, Condition("white", 0.3, "logits"))
    found = read_curvature(
        parameters, spec, x, y, sample=len(y), batches=[], is_focus=True
    )
    _, vectors = np.linalg.eigh(dense_hessian(parameters, x, y))
    first_w, first_b = vectors[:20, -1].reshape(5, 4), vectors[20:24, -1]
    mean = x.numpy().mean(axis=0)
    reads = mean / np.linalg.norm(mean) @ first_w
    assert_allclose(found["mean_share"], reads @ reads, rtol=0.02)
    first = (first_w**2).sum() + (first_b**2).sum()
    assert_allclose(found["first_share"], first, rtol=0.02)
    assert found["unclipped_sharpness"] == found["sharpness"]
    true = torch.log_softmax(
        (
            ((x @ parameters[0] + parameters[1]).relu()) @ parameters[2] + parameters[3]
        ).relu()
        @ parameters[4]
        + parameters[5],
        dim=1,
    )[torch.arange(len(y)), y]
    assert_allclose(found["sample_loss"], -true.mean(), rtol=1e-6)
    assert_allclose(found["sample_below"], (true < np.log(0.1)).double().mean())


def test_a_flat_loss_has_no_direction():
    parameters, x, y = tiny()
    lost = parameters[:-1] + (parameters[-1] + torch.tensor([0.0, 0.0, 1e4]),)
    spec = spec_of(QUICK, Condition("white", 0.3, "clipped"))
    found = read_curvature(
        lost, spec, x, torch.zeros_like(y), sample=9, batches=[], is_focus=True
    )
    assert found["sharpness"] == 0
    assert found["sample_below"] == 1
    assert np.isnan(found["mean_share"])
    assert np.isnan(found["first_share"])


def test_overflowed_networks_have_no_curvature():
    parameters, x, y = tiny()
    spec = spec_of(QUICK, Condition("white", 0.3, "logits"))
    gone = (parameters[0] * np.inf, *parameters[1:])
    assert not read_curvature(
        gone, spec, x, y, sample=9, batches=[np.arange(3)], is_focus=False
    )


def test_the_next_batches_lead_from_one_look_to_the_next(folder, results):
    # plain SGD over them in torch, from kept weights to kept weights
    arm = Condition("white", 0.3, "logits")
    spec, store = spec_of(QUICK, arm), open_store(folder / "store")
    x, y = as_inputs(load_dataset(spec.data), "train")
    for replica in (0, 2):
        now, then = (
            take_parameters(store.weights(spec.run_key, epoch), replica)
            for epoch in (2, 3)
        )
        now = tuple(p.double() for p in now)
        for batch in list_batches(spec, len(y), replica, 2):
            leaves = tuple(p.clone().requires_grad_() for p in now)
            a = x[batch].double()
            for place in (0, 2, 4):
                a = (a if place == 0 else a.relu()) @ leaves[place] + leaves[place + 1]
            loss = torch.nn.functional.cross_entropy(a, y[batch])
            slopes = torch.autograd.grad(loss, leaves)
            now = tuple(p - 0.3 * g for p, g in zip(now, slopes, strict=True))
        for ours, kept in zip(now, then, strict=True):
            assert_allclose(ours, kept, atol=1e-4)


def test_white_and_black_are_each_other_s_complement_and_centred_has_mean_zero():
    seen = {}
    for pixels in QUICK.inputs:
        spec = spec_of(QUICK, Condition(pixels, 0.1, "clipped"))
        seen[pixels], _ = as_inputs(load_dataset(spec.data), "train")
    assert_allclose(seen["white"] + seen["black"], 1, rtol=1e-6)
    assert seen["white"].mean() > 0.5 > seen["black"].mean()
    assert_allclose(seen["centred"].mean(), 0, atol=1e-5)
    for x in seen.values():
        found = read_moments(x)
        singular = np.linalg.svd(x.double().numpy(), compute_uv=False)
        assert_allclose(found["top_moment"], singular[0] ** 2 / len(x), rtol=1e-9)
        assert_allclose(found["square_norm"], (singular**2).sum() / len(x), rtol=1e-9)
        mean = x.double().numpy().mean(axis=0)
        assert_allclose(found["mean_square_norm"], mean @ mean, rtol=1e-9)


def test_the_sample_is_the_same_each_time_and_has_no_example_twice():
    spec = spec_of(QUICK, list_arms(QUICK)[0])
    sample = choose_sample(spec, 400, 200)
    assert len(set(sample.tolist())) == 200
    assert (sample == choose_sample(spec, 400, 200)).all()


def test_arms_share_start_and_sharpness_at_the_start(results):
    starts = results["sharpness"].sel(look=0)
    for pixels in ("white", "black"):
        low, high = (starts.sel(arm=f"{pixels} {lr} clipped") for lr in (0.1, 0.3))
        assert_allclose(low, high, rtol=1e-6)
    arm = list_arms(QUICK)[1]
    assert find_looks(QUICK, arm) == (0, 1, 2, 3, 5)
    assert np.isnan(results["sharpness"].sel(arm=arm.name, look=6)).all()


def made_arm(loss="clipped", accuracy=0.95, train_loss=0.1, below=0.0):
    curves = {
        name: (("epoch", "replica"), np.full((12, 2), float(value)))
        for name, value in (
            ("train_accuracy", accuracy),
            ("train_loss", train_loss),
            ("below_eps", below),
        )
    }
    arm = xr.Dataset(curves | {"loss": loss}, attrs={"num_classes": 100})
    arm["train_loss"][10:] = np.nan  # beyond its budget
    return arm


def test_fates_are_those_of_the_last_epochs():
    guess = np.log(100)
    assert find_fates(made_arm()).tolist() == [0, 0]
    assert find_fates(made_arm(accuracy=0.1, below=0.9)).tolist() == [1, 1]
    # without a clip nothing is abandoned, however small its probability
    other = made_arm("logits", accuracy=0.1, below=0.9, train_loss=7)
    assert find_fates(other).tolist() == [3, 3]
    lost = made_arm(accuracy=0.01, train_loss=guess * 1.01)
    assert find_fates(lost).tolist() == [2, 2]
    assert find_fates(made_arm(accuracy=0.6, train_loss=1)).tolist() == [3, 3]
    late = made_arm()
    late["train_accuracy"][:5] = 0.0
    assert find_fates(late).tolist() == [0, 0]


def test_the_area_under_the_curve_is_that_of_mann_and_whitney():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, 40).astype(float)
    is_high = rng.random(40) < 0.4
    expected = mannwhitneyu(x[is_high], x[~is_high]).statistic
    expected /= is_high.sum() * (~is_high).sum()
    assert_allclose(find_area(x, is_high), expected)


def test_a_law_is_possible_where_the_products_at_all_edges_have_a_point_in_common():
    edges = [
        {"learn": 0.1, "fail": 0.2, "a": 10.0, "b": {"mean": 10.0}},
        {"learn": 0.4, "fail": 0.8, "a": 2.5, "b": {"mean": 10.0}},
    ]
    held = weigh_law(edges, "a", "held")
    assert held["is_possible"]
    assert_allclose(held["low"], [1, 1])
    broken = weigh_law(edges, "b", "broken")
    assert not broken["is_possible"]
    assert_allclose(broken["miss"], 4 / 2)


def test_results_are_summarized_and_drawn(results, facts):
    arm = facts["arms"]["white 0.3 clipped"]
    kept = results["sharpness"].sel(arm="white 0.3 clipped")
    assert_allclose(arm["start"]["mean"], 0.3 * kept.sel(look=0).mean(), rtol=1e-5)
    assert_allclose(arm["most"]["mean"], 0.3 * kept.max("look").mean(), rtol=1e-5)
    assert sum(arm["num"].values()) == QUICK.replicas
    assert EXPERIMENT.draw(results).draw().axes


def test_shipped_starts_are_the_same_at_each_learning_rate(shipped):
    starts = shipped["sharpness"].sel(look=0)
    for pixels in ("white", "black", "centred"):
        mine = shipped["pixels"] == pixels
        for loss in ("clipped", "logits"):
            rows = starts[(mine & (shipped["loss"] == loss)).to_numpy()].to_numpy()
            assert_allclose(rows, rows[:1].repeat(len(rows), axis=0), rtol=1e-4)


def test_shipped_starts_are_steeper_the_larger_the_top_moment_of_the_inputs(shipped):
    # the Gauss-Newton block of the first layer: in the order of the moments, and for
    # inputs that are all dominated by one direction in proportion to them
    start = {
        pixels: float(shipped["sharpness"].sel(look=0, arm=arm).mean())
        for pixels, arm in (
            ("white", "white 0.1 clipped"),
            ("centred", "centred 0.1 clipped"),
            ("black", "black 0.1 clipped"),
        )
    }
    moments = shipped["top_moment"]
    assert start["white"] > start["centred"] > start["black"]
    assert moments.sel(input="white") > moments.sel(input="centred")
    assert moments.sel(input="centred") > moments.sel(input="black")
    assert shipped["mean_share"].sel(look=0, arm="white 0.1 clipped").min() > 0.7


def test_shipped_networks_that_nothing_pulls_have_no_sharpness_and_stand_still(shipped):
    arm = shipped.sel(arm="black 0.8 clipped")
    assert (arm["sharpness"].sel(look=40) == 0).all()
    late = arm["train_loss"].sel(epoch=slice(31, 40)).to_numpy()
    assert_allclose(np.ptp(late, axis=0), 0, atol=1e-4)
    assert (shipped["sharpness"].fillna(1) >= 0).all()


def test_shipped_samples_give_the_sharpness_of_the_whole_training_set(shipped):
    one = shipped.sel(arm="white 0.1 clipped").isel(replica=0)
    ratio = (one["sharpness"] / one["whole_sharpness"]).dropna("look")
    assert ratio.size > 15
    assert abs(ratio - 1).median() < 0.1
