"""Near the start where training collapses: arms against plain torch and NumPy."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax

import by_hand
from birthmark.data import load_dataset
from birthmark_experiments.near_the_start.points import distances, move, shrink
from birthmark_experiments.near_the_start_unstable import EXPERIMENT, measure
from birthmark_experiments.near_the_start_unstable.facts import find_lost
from birthmark_experiments.near_the_start_unstable.measure import (
    carry_out,
    train_freely,
)
from birthmark_experiments.near_the_start_unstable.protocol import PROTOCOLS, Condition

QUICK = PROTOCOLS["quick"]
REPLICA, EPOCHS = 1, 3


@pytest.fixture(scope="module")
def free(folder, results):
    return {loss: train_freely(QUICK, loss, folder) for loss in ("clipped", "logits")}


@pytest.fixture(scope="module")
def dataset(free):
    return load_dataset(free["clipped"].spec.data)


def train_by_hand(spec, dataset, start, center=None, radius=math.inf):
    """Mean losses and shares below the clip, and the weights at the kept epochs."""
    found = by_hand.descend(
        spec,
        dataset,
        start,
        REPLICA,
        EPOCHS,
        center=center,
        radius=radius,
        every=QUICK.every,
    )
    losses, shares, points = zip(*found, strict=True)
    return (
        losses[1:],
        shares[1:],
        {e: points[e] for e in range(0, EPOCHS + 1, QUICK.kept)},
    )


def measure_ways(points, start) -> list[float]:
    """How far each point is from a start, all weights and biases as one vector."""
    from_here = torch.cat([tensor[REPLICA].flatten().double() for tensor in start])
    return [
        float((torch.cat([p.flatten() for p in point]) - from_here).norm())
        for point in points.values()
    ]


def test_each_arm_is_projected_gradient_descent_from_its_start(results, free, dataset):
    for loss, one in free.items():
        start, best = one.start, one.best
        zero = {name: torch.zeros_like(tensor) for name, tensor in start.items()}
        moved = move(start, best, 1.0, one.spec.run.seed)
        arms = {
            "free": {"start": start},
            "ball 1": {
                "start": start,
                "center": start,
                "radius": distances(best, start)[REPLICA],
            },
            "norm 0.5": {
                "start": start,
                "center": zero,
                "radius": 0.5 * distances(best, zero)[REPLICA],
            },
            "moved 1": {"start": moved},
            "shrunk 1": {"start": shrink(moved, start)},
        }
        for name, how in arms.items():
            if f"{loss} {name}" in results["arm"]:
                arm = results.sel(arm=f"{loss} {name}", replica=REPLICA)
                losses, shares, points = train_by_hand(one.spec, dataset, **how)
                assert_allclose(
                    arm["train_loss"][:EPOCHS], losses, rtol=1e-3, err_msg=name
                )
                # an example at the clip itself may fall on either side by rounding
                assert_allclose(
                    arm["below_eps"][:EPOCHS], shares, atol=1.1 / len(dataset.y_train)
                )
                for kind, origin in (("way", how["start"]), ("from_start", start)):
                    assert_allclose(
                        arm[kind].sel(kept_epoch=list(points)),
                        measure_ways(points, origin.values()),
                        rtol=1e-3,
                        err_msg=f"{name}, {kind}",
                    )


def test_the_norm_of_the_start_is_that_of_all_its_weights_and_biases(results, free):
    squares = [
        tensor.double().square().flatten(1).sum(dim=1).numpy()
        for tensor in free["clipped"].start.values()
    ]
    assert_allclose(results["start_norm"], np.sqrt(sum(squares)), rtol=1e-6)


def test_the_test_accuracy_is_that_of_a_forward_pass_over_the_test_half(
    results, free, dataset
):
    x = dataset.x_test / dataset.full_scale
    for loss, one in free.items():
        z_RNK = by_hand.logits(x, one.last.values())
        right = z_RNK.argmax(axis=2) == dataset.y_test
        assert_allclose(
            results["test_accuracy"].sel(arm=f"{loss} free").isel(epoch=-1),
            right.mean(axis=1),
            atol=1.1 / len(dataset.y_test),
        )


def test_in_a_tight_ball_around_the_start_training_moves_on_its_surface(
    free, dataset, folder
):
    one = free["clipped"]
    radius_R = 0.1 * distances(one.best, one.start)
    arm = carry_out(Condition("clipped", "ball", 0.1), QUICK, one, dataset, folder)
    assert_allclose(arm["way"].sel(kept_epoch=2), radius_R, rtol=1e-4)
    losses, _, _ = train_by_hand(
        one.spec, dataset, one.start, one.start, radius_R[REPLICA]
    )
    found = arm["train_loss"].isel(replica=REPLICA)[:EPOCHS]
    assert_allclose(found, losses, rtol=1e-3)


def test_a_start_is_moved_as_far_as_the_arm_says(free, dataset, folder):
    one = free["clipped"]
    arm = carry_out(Condition("clipped", "moved", 0.5), QUICK, one, dataset, folder)
    expected = 0.5 * distances(one.best, one.start)
    assert_allclose(arm["from_start"][0], expected, rtol=1e-5)


def test_a_ball_too_wide_to_be_left_is_free_training_bit_for_bit(results):
    wide, unheld = (
        results.sel(arm=f"clipped {name}") for name in ("ball 1000", "free")
    )
    for name in ("train_loss", "train_accuracy", "test_accuracy", "below_eps", "way"):
        assert_array_equal(wide[name], unheld[name])


def test_the_best_point_has_the_lowest_loss_and_its_distance(results, free):
    for loss, one in free.items():
        curve = results["train_loss"].sel(arm=f"{loss} free")
        kept = curve.isel(epoch=np.arange(QUICK.kept - 1, QUICK.epochs, QUICK.kept))
        best = kept["epoch"].to_numpy()[kept.argmin("epoch")]
        assert_array_equal(results["best_epoch"].sel(free=loss), best)
        squares = sum(
            float((one.best[name][2] - one.start[name][2]).square().sum())
            for name in one.start
        )
        way = float(results["best_way"].sel(free=loss)[2])
        assert way == pytest.approx(math.sqrt(squares), rel=1e-5)


def test_losses_on_lines_and_with_layers_put_back_are_those_of_numpy(
    results, free, dataset
):
    one = free["clipped"]
    x, y = dataset.x_train / dataset.full_scale, dataset.y_train

    def look(points):
        p = softmax(by_hand.logits(x, points.values())[REPLICA], axis=1)
        true = p[np.arange(len(y)), y]
        loss = -np.log(np.clip(true, QUICK.eps, 1 - QUICK.eps)).mean()
        return loss, (p.argmax(axis=1) == y).mean(), (true < QUICK.eps).mean()

    def compare(place, expected):
        names = ("train_loss", "train_accuracy", "below_eps")
        prefix = "line" if "alpha" in place else "reset"
        found = [
            float(results[f"{prefix}_{name}"].sel(place)[REPLICA]) for name in names
        ]
        assert_allclose(found, expected, rtol=1e-4, atol=1e-3)

    for tip, end in (("best", one.best), ("last", one.last)):
        for alpha in (-0.5, 2.0):
            point = {n: one.start[n] + alpha * (end[n] - one.start[n]) for n in end}
            compare({"tip": tip, "alpha": alpha}, look(point))
        mixed = {n: (one.start if n.startswith("output") else end)[n] for n in end}
        compare({"tip": tip, "reset": "output"}, look(mixed))
        compare({"tip": tip, "reset": "none"}, look(end))


def test_what_is_done_is_not_trained_again(folder, results, monkeypatch):
    monkeypatch.setattr(measure, "train_from", None)  # no arm could begin
    again = EXPERIMENT.measure("quick", folder)
    xr.testing.assert_identical(again, results)


def test_an_arm_that_is_put_back_more_often_is_trained_anew(folder):
    # in so narrow a ball no replica stays inside by itself
    free, arm = (
        train_freely(QUICK, "clipped", folder),
        Condition("clipped", "ball", 0.25),
    )
    dataset = load_dataset(free.spec.data)
    before, often = (
        carry_out(arm, protocol, free, dataset, folder)["train_loss"]
        for protocol in (QUICK, replace(QUICK, every=1))
    )
    assert (before != often).any("epoch").all()


def test_lost_is_what_falls_from_more_than_half():
    epochs = np.arange(1, 131)
    risen = np.minimum(epochs / 50, 1.0)
    fallen = np.where(epochs > 90, 0.01, 0.9 * risen)
    weak = np.where(epochs > 90, 0.01, 0.4 * risen)
    curves = np.stack([0.9 * risen, fallen, weak], axis=1)
    arm = xr.Dataset({"train_accuracy": (("epoch", "replica"), curves)})
    lost_R = find_lost(arm)
    assert np.isnan(lost_R[[0, 2]]).all()
    assert 85 <= lost_R[1] <= 95


def test_results_are_summarized_and_drawn(results, facts):
    moved = results.sel(arm="clipped moved 1")
    row = facts["arms"]["clipped moved 1"]
    assert row["lowest_loss"]["mean"] == pytest.approx(
        float(moved["train_loss"].min("epoch").mean())
    )
    last = results["train_accuracy"].isel(epoch=slice(-10, None)).median("epoch")
    gap = last.sel(arm="clipped moved 1") - last.sel(arm="clipped free")
    found = facts["against_free"]["clipped"]["accuracy"]["clipped moved 1"]
    assert found["mean"] == pytest.approx(float(gap.mean()), abs=1e-6)
    assert {claim.letter for claim in facts["claims"]} == {"g1", "g2"}
    assert EXPERIMENT.draw(results).draw().axes


# of the shipped records


def test_no_shipped_network_leaves_its_ball(shipped):
    for name in shipped["arm"].to_numpy():
        arm = shipped.sel(arm=name)
        if arm["kind"] == "ball":
            limit_R = arm["size"] * shipped["best_way"].sel(free=arm["loss"])
            assert (arm["way"] <= limit_R * (1 + 1e-4)).all()


def test_shipped_starts_were_moved_as_far_as_their_arms_say(shipped):
    for name in shipped["arm"].to_numpy():
        arm = shipped.sel(arm=name)
        if arm["kind"] == "moved":
            way_R = arm["size"] * shipped["best_way"].sel(free=arm["loss"])
            began_R = arm["from_start"].isel(kept_epoch=0)
            assert_allclose(began_R, way_R, rtol=1e-5)


def test_shipped_losses_are_those_that_the_clip_allows(shipped):
    most = -math.log(shipped.attrs["eps"])
    clipped = shipped["train_loss"][shipped["loss"].to_numpy() == "clipped"]
    assert float(clipped.max()) <= most * 1.0001
    bound = shipped["line_below_eps"] * most
    assert (shipped["line_train_loss"] >= bound * 0.9999).all()


def test_shipped_arms_that_share_a_start_share_the_first_steps(shipped):
    for loss in ("clipped", "logits"):
        arms = [f"{loss} {name}" for name in ("free", "ball 1", "norm 1")]
        first = shipped["train_loss"].sel(arm=arms).isel(epoch=0).to_numpy()
        assert_array_equal(first, np.broadcast_to(first[0], first.shape))
