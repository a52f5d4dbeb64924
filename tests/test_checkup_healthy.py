"""Well-known architectures, as their definitions draw them, are not blamed."""

import copy
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


class Target(nn.Module):
    """A value network, and the frozen copy of it that gives its targets."""

    def __init__(self, trains_both=False):
        super().__init__()
        self.own = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
        self.target = copy.deepcopy(self.own).requires_grad_(trains_both)

    def forward(self, x):
        return self.own(x) + self.target(x)


@pytest.mark.parametrize(("trains_both", "level"), [(False, "note"), (True, "warning")])
def test_a_copy_that_is_not_trained_is_a_target_and_no_accident(trains_both, level):
    torch.manual_seed(0)
    checkup = check(Target(trains_both), (torch.randn(32, 8), torch.randn(32, 4)))
    levels = [f.level for f in checkup.findings if f.name == "shared_draw"]
    assert levels[0] == level


@pytest.mark.parametrize("outputs", [1, 2])
def test_inputs_do_not_collapse_in_a_single_number(outputs):
    """Of numbers of one sign the cosine is 1; of two equal numbers it is, rightly."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, outputs))
    with torch.no_grad():
        net[2].bias.fill_(50.0)
        net[2].weight.mul_(1e-3)
    checkup = check(net, (torch.randn(64, 4), torch.randn(64, outputs)))
    found = {f.name for f in checkup.findings}
    assert ("inputs_collapse" in found) == (outputs == 2)


class Tasks(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
        self.kind, self.size = nn.Linear(32, 5), nn.Linear(32, 1)

    def forward(self, x):
        hidden = self.trunk(x)
        return {"kind": self.kind(hidden), "size": self.size(hidden)}


@pytest.mark.parametrize("scale", [1.0, 1e5])
def test_targets_of_one_task_of_several_are_held_against_its_outputs(scale):
    torch.manual_seed(0)
    target = {"kind": torch.randint(0, 5, (32,)), "size": scale * torch.randn(32, 1)}

    def loss(outputs, wanted):
        kind = nn.functional.cross_entropy(outputs["kind"], wanted["kind"])
        return kind + nn.functional.mse_loss(outputs["size"], wanted["size"])

    checkup = check(Tasks(), (torch.randn(32, 8), target), loss=loss)
    assert ("unusual_targets" in {f.name for f in checkup.findings}) == (scale > 1)
    size = target["size"].double().square().mean()
    assert checkup.outcome.target_moment == pytest.approx(float(size))


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
