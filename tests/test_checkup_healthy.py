"""Well-known architectures, as their definitions draw them, are not blamed."""

import math

import pytest
import torch
from torch import nn

from architectures import HEALTHY, mlp
from birthmark.checkup import check

# what a note may say of a healthy architecture, since it is so
NOTES = {
    "resnet_zero_gamma": {"late_start"},  # branches that start at 0, on purpose
    "mixer": {"late_start", "constant_outputs"},  # a head of zeros, on purpose
    "vgg": {"silent_units"},  # no norms: units on or off for most of the images
    "plain_cnn": {"silent_units"},
}


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_architecture_has_no_wrong_finding(name, seed):
    torch.manual_seed(seed)
    checkup = check(*HEALTHY[name]())
    assert not checkup.at_or_above("warning"), checkup.text()
    assert {finding.name for finding in checkup.findings} <= NOTES.get(name, set())
    assert not checkup.unread


def test_there_are_ten_and_more():
    assert len(HEALTHY) >= 10


def test_each_layer_of_a_resnet_is_predicted_but_what_theory_does_not_know():
    torch.manual_seed(0)
    checkup = check(*HEALTHY["resnet"]())
    assert all(layer.forward_predicted is not None for layer in checkup.layers)
    checkup = check(*HEALTHY["lstm"]())
    unread = {x.role for x in checkup.layers if x.forward_predicted is None}
    assert unread == {"embedding", "recurrent"}
    assert all(layer.unread for layer in checkup.layers if layer.role in unread)


def backward_change(model, x, y):
    """By plain autograd: ln of the gradient's energy at the first over the last."""
    kept, layers = [], [m for m in model.modules() if isinstance(m, nn.Linear)]
    handles = [m.register_forward_hook(lambda *a: kept.append(a[2])) for m in layers]
    loss = nn.functional.cross_entropy(model(x), y)
    first, *_, last = torch.autograd.grad(loss, kept)
    for handle in handles:
        handle.remove()
    return math.log(first.square().sum() / last.square().sum())


def vanishing(checkup):
    return [f.values["ln"] for f in checkup.findings if f.name == "gradient_vanishes"]


def test_a_note_under_torchs_own_law_has_the_size_of_the_closed_form():
    """Var w = 1 / (3 fan_in), half of the units on: each layer keeps 1/6."""
    found, widths = [], (64,) * 5
    for seed in range(3):
        torch.manual_seed(seed)
        model, (x, y) = mlp(widths)
        (change,) = vanishing(check(model, (x[:32], y[:32])))
        assert change == pytest.approx(backward_change(model, x[:32], y[:32]), rel=1e-4)
        found.append(change)
    # Hanin & Rolnick 1803.01719: its variance is 5 / n a layer
    error = math.sqrt(5 * len(widths) / 64 / len(found))
    assert sum(found) / len(found) == pytest.approx(
        len(widths) * math.log(1 / 6), abs=3 * error
    )
    torch.manual_seed(0)
    model, (x, y) = mlp((64,) * 3)  # e^-5.4: within the trainable depth
    assert not vanishing(check(model, (x[:32], y[:32])))


@pytest.mark.slow
def test_false_alarms_over_many_draws_are_rare():
    """60 networks, over 2,500 tests of layers and tensors: no warning."""
    alarms, notes = [], set()
    for seed in range(60):
        torch.manual_seed(seed)
        activation = (nn.ReLU, nn.Tanh, nn.GELU, nn.LeakyReLU)[seed % 4]
        widths = ((32,) * 2, (64,) * 3, (20, 100, 20))[seed % 3]
        model, (x, y) = mlp(widths, activation)
        checkup = check(model, (x[:32], y[:32]))
        alarms += [f.what for f in checkup.at_or_above("warning")]
        notes.update(f.name for f in checkup.findings)
        change = backward_change(model, x[:32], y[:32])
        if found := vanishing(checkup):
            assert found == pytest.approx([change], rel=1e-4)
            assert change < -6
            # only GELU, whose slope at 0 is a half, keeps as little as 1/12 a layer
            assert activation is nn.GELU
        else:
            assert change > -6 - 4 * math.sqrt(5 * sum(1 / n for n in widths))
    assert not alarms
    assert notes <= {"silent_units", "gradient_vanishes"}  # in narrow layers; above
