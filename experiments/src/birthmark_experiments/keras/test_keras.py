"""What was measured in real Keras agrees with closed forms, and the pages say it."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from birthmark import RunSpec, initial_configuration, load_dataset
from birthmark.seeds import batch_order
from birthmark_experiments.keras import facts

LINES, TRAININGS, WIDE = map(facts.read_lines, ("steps", "trainings", "paper"))


def step_in_torch(clips: bool) -> tuple[float, np.ndarray]:
    """Loss, and the move of the biases, from autograd."""
    b = torch.tensor([0.0, 0.0, -25.0], dtype=torch.float64, requires_grad=True)
    p = torch.softmax(b, dim=0)[2]
    loss = -torch.log(p.clamp(1e-7, 1 - 1e-7) if clips else p)
    loss.backward()
    return float(loss.detach()), -0.1 * b.grad.numpy()


@pytest.mark.parametrize(
    "line", LINES, ids=lambda one: f"{one['keras']}-{one['backend']}"
)
def test_a_step_is_that_of_the_clip_or_that_of_the_logits(line):
    # TensorFlow's backend finds the logits behind a softmax; the others clip
    clips = not line["from_logits"] and line["backend"] != "tensorflow"
    loss, moved = step_in_torch(clips)
    assert line["loss"] == pytest.approx(loss, rel=1e-5)
    assert_allclose(line["moved"], moved, atol=1e-5)
    if clips:
        assert line["moved"] == [0, 0, 0]
        assert loss == pytest.approx(-math.log(1e-7))
    else:
        assert loss == pytest.approx(math.log(2 + math.exp(-25)) + 25)


def plain_steps(replica: int, num_steps: int) -> list[float]:
    """Losses of the first steps of a training, in float64 by autograd."""
    data = {"name": "hasyv2", "classes": 100, "examples_per_class": 60}
    spec = RunSpec(data=data, network={"widths": [100, 100]}, run={"replicas": 5})
    dataset = load_dataset(spec.data)
    layers = [layer for _, layer in initial_configuration(spec).items()]
    w, b = (
        [getattr(one, name)[replica].double().requires_grad_() for one in layers]
        for name in ("w", "b")
    )
    order, losses = batch_order(0, replica, 0, len(dataset.y_train)), []
    for step in range(num_steps):
        index = order[32 * step : 32 * (step + 1)]
        a = torch.tensor(dataset.x_train[index], dtype=torch.float64) / 255
        for weights, biases in zip(w[:2], b[:2], strict=True):
            a = torch.relu(a @ weights + biases)
        z = a @ w[2] + b[2]
        p = torch.softmax(z, 1)[range(32), dataset.y_train[index]]
        loss = -p.clamp(1e-3, 1 - 1e-3).log().mean()
        moves = torch.autograd.grad(loss, [*w, *b])
        with torch.no_grad():
            for one, move in zip([*w, *b], moves, strict=True):
                one -= 0.1 * move
        losses.append(float(loss.detach()))
    return losses


# until rounding decides for the first time whether a unit is above zero; no example is
# below the clip yet, so that logits give the same
@pytest.mark.parametrize(("replica", "count"), [(0, 10), (1, 90), (2, 100)])
def test_trainings_begin_as_plain_float64_does_on_every_backend(
    replica, count, real_data
):
    expected = plain_steps(replica, count)
    begun = [one["step_loss"] for one in TRAININGS if one["replica"] == replica]
    assert len(begun) >= 2
    for losses in begun:
        assert_allclose(losses[:count], expected, rtol=1e-6)


def test_what_has_abandoned_everything_stands_on_the_plateau():
    frozen = [
        one
        for one in TRAININGS
        if one["below_eps_at_end"] > 0.985 and not one["from_logits"]
    ]
    assert len(frozen) >= 2
    for one in frozen:
        # the abandoned lose -ln eps each, and the few others next to nothing
        plateau = -math.log(one["epsilon"]) * one["below_eps_at_end"]
        assert one["loss"][-1] == pytest.approx(plateau, rel=0.02)
        assert one["backend"] != "tensorflow"


def test_a_softmax_on_tensorflow_is_trained_as_logits_are():
    def first_epochs(backend: str, from_logits: bool) -> list[float]:
        return next(
            one["loss"][:3]
            for one in TRAININGS
            if (one["backend"], one["from_logits"]) == (backend, from_logits)
            and one["replica"] == 1
        )

    logits = first_epochs("jax", True)
    assert first_epochs("tensorflow", False) == pytest.approx(logits, rel=1e-5)
    # the second epoch has examples below the clip
    assert first_epochs("jax", False)[1] != pytest.approx(logits[1], rel=1e-4)


def test_the_papers_network_is_trained_by_keras_as_by_birthmark():
    rows = facts.describe_wide()["rows"]
    early = [row for row in rows if row["epoch"] <= 20]
    assert len(early) == 5
    for row in early:
        # the products of one are in bfloat16
        for name, rel in (("train_loss", 0.005), ("deviation_std", 0.01)):
            assert row["keras"][name] == pytest.approx(row["own"][name], rel=rel)
    assert [one["epoch"] for one in WIDE] == list(range(1, len(WIDE) + 1))


def test_facts_count_what_agrees_and_what_is_abandoned():
    curves = {
        ("jax", False, 0): [2.0, 1.0, 0.5],
        ("torch", False, 0): [2.001, 1.0, 0.6],
        ("jax", False, 1): [2.0, 1.0, 0.5],
        ("torch", False, 1): [2.0, 1.0, 0.5],
        ("jax", False, 2): [2.0, 1.0, 0.5],
    }
    pair = facts.describe_pair(curves, ("jax", False), ("torch", False))
    assert pair["epochs"] == [2, 3]
    assert facts.describe_pair(curves, ("jax", False), ("jax", True)) is None
    line = {"framework": "jax 1", "num_classes": 100, "replica": 0}
    ends = [(0.99, 6.8, 0.01), (0.0, math.log(100), 0.01), (0.3, 2.0, 0.5)]
    found = [
        line | {"below_eps_at_end": below, "loss": [loss], "accuracy": [accuracy]}
        for below, loss, accuracy in ends
    ]
    arm = facts.describe_arm("jax", False, found)
    assert (arm["num_abandoned"], arm["num_guesses"]) == (1, 1)
    # no clip, no abandoned examples
    assert facts.describe_arm("jax", True, found)["num_abandoned"] == 0
