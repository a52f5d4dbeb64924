"""Well-known architectures, as their definitions draw them, are not blamed."""

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
    assert not alarms
    # which are so: in narrow layers, and under torch's own law, of gain 1/3 a layer
    assert notes <= {"silent_units", "gradient_vanishes"}
