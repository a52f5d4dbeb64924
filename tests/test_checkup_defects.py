"""Planted defects: each is found under its name, in its place, as gravely as it is."""

import copy
import math
from functools import lru_cache

import pytest
import torch
from torch import nn
from torch.nn import functional

from architectures import GPT, draw_gpt2, draw_he, gpt, images, lstm, resnet
from birthmark.checkup import check


def dense(widths=(128, 128, 128), activation=nn.ReLU, inputs=192, classes=10):
    """A plain network with He's rule and zero biases, and a small head."""
    layers = []
    for width in widths:
        layers += [nn.Linear(inputs, width), activation()]
        inputs = width
    model = draw_he(nn.Sequential(*layers, nn.Linear(inputs, classes)))
    nn.init.normal_(model[-1].weight, 0, 0.01)
    return model


def data(count=64, inputs=192, classes=10):
    return torch.randn(count, inputs), torch.arange(count) % classes


def spoil(model, name, function):
    with torch.no_grad():
        function(model.get_parameter(name))
    return model


def constant_layer():
    return spoil(dense(), "2.weight", lambda w: w.fill_(0.05)), data()


def constant_half():
    model = dense()
    for name in ("0.weight", "2.weight", "4.weight", "6.weight"):
        spoil(model, name, lambda w: w.fill_(0.5))
    return model, data()


def tied_draw():
    model = dense((128, 128, 128))
    for index in (2, 4):
        torch.manual_seed(5)
        nn.init.kaiming_normal_(model[index].weight)
    return model, data()


def cloned_encoder():
    layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    return model, torch.randn(16, 10, 64)


def ten_times():
    return spoil(dense(), "2.weight", lambda w: w.mul_(10)), data()


def dead_third():
    def kill(bias):
        bias[: len(bias) // 3] = -30

    return spoil(dense(), "2.bias", kill), data()


def dead_layer():
    return spoil(dense(), "2.bias", lambda b: b.fill_(-50)), data()


def dead_channels():
    model, batch = resnet()
    block = model[4]
    block.bn1.bias.data[:8] = -20
    return model, batch


def negative_weights():
    def negate(w):
        w.copy_(-w.abs())

    return spoil(dense(), "2.weight", negate), data()


def forgotten_biases():
    model = nn.Sequential(nn.Linear(192, 128), nn.ReLU(), nn.Linear(128, 128))
    model = nn.Sequential(*model, nn.ReLU(), nn.Linear(128, 10))
    for index in (0, 2, 4):
        nn.init.kaiming_normal_(model[index].weight)
    return model, data()


def forgotten_layer():
    model = dense((128,) * 4)
    model[4].reset_parameters()
    return model, data()


def wrong_fan():
    model = dense((64, 512, 64))
    nn.init.kaiming_normal_(model[2].weight, mode="fan_out")
    return model, data()


def empty_head():
    """What memory holds that was never written: any bits at all."""
    generator = torch.Generator().manual_seed(3)
    bits = torch.randint(0, 2**30, (10, 128), generator=generator)
    return (
        spoil(dense(), "6.weight", lambda w: w.copy_(bits.int().view(torch.float32))),
        data(),
    )


def half_underflow():
    model = dense((128,) * 12)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight, 0.5)
    return model.half(), data()


def double_softmax():
    return nn.Sequential(*dense(), nn.Softmax(dim=-1)), data()


def probabilities_to_nll():
    return nn.Sequential(*dense(), nn.Softmax(dim=-1)), data(), {"loss": "nll"}


def clipped_loss():
    def keras_like(p, y):
        p = torch.clamp(p, 1e-7, 1 - 1e-7)
        return -torch.log(p.gather(1, y[:, None])).mean()

    return nn.Sequential(*dense(), nn.Softmax(-1)), data(), {"loss": keras_like}


def deep_xavier():
    model = dense((128,) * 30)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
    return model, data()


def deep_default():
    model = dense((128,) * 30)
    for module in model:
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    return model, data()


def all_zero():
    model = dense()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model, data()


def copied_units():
    def copy_rows(w):
        w[64:] = w[:64]

    model = spoil(dense(), "2.weight", copy_rows)
    return spoil(model, "4.weight", lambda w: w[:, 64:].copy_(w[:, :64])), data()


def copied_channels():
    model, batch = resnet()

    def copy_filters(w):
        w[1] = w[0]

    spoil(model, "4.conv1.weight", copy_filters)
    return spoil(model, "4.conv2.weight", lambda w: w[:, 1].copy_(w[:, 0])), batch


def saturated_tanh():
    model = dense(activation=nn.Tanh)
    return spoil(model, "2.weight", lambda w: w.mul_(10)), data()


def saturated_sigmoid():
    model = dense(activation=nn.Sigmoid)
    return spoil(model, "0.weight", lambda w: w.mul_(20)), data()


def nan_weights():
    def poison(w):
        w[3, 7] = math.nan

    return spoil(dense(), "2.weight", poison), data()


def zero_gammas():
    model, batch = resnet()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.weight)
    return model, batch


def closed_forget_gates():
    model, batch = lstm()
    for name, parameter in model.lstm.named_parameters():
        if "bias" in name:
            parameter.data[96:192] = -3
    return model, batch


def long_sequences():
    model, _ = lstm()
    return model, (torch.randint(0, 200, (16, 60)), torch.arange(16) % 5)


def large_embedding():
    model, batch = gpt()
    nn.init.normal_(model.tokens.weight)  # torch's default, under a tied head
    return model, batch


def frozen_layers():
    model = dense()
    model[0].requires_grad_(False)
    return model, data()


class Forgetful(nn.Module):
    """A layer that forward does not call."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(192, 10), nn.Linear(192, 10)

    def forward(self, x):
        return self.used(x)


class Detached(nn.Module):
    """A feature extractor whose signal goes on, and whose gradient does not."""

    def __init__(self):
        super().__init__()
        self.body, self.head = dense(classes=32), nn.Linear(32, 10)
        nn.init.kaiming_normal_(self.body[-1].weight)

    def forward(self, x):
        return self.head(self.body(x).detach())


def raw_pixels():
    x, y = data()
    pixels = torch.rand_like(x) * 255
    return dense(), (pixels, y)


def equal_inputs():
    x, y = data()
    return dense(), (x[:1].expand_as(x).contiguous(), y)


def loud_head():
    return spoil(dense(), "6.weight", lambda w: w.normal_(0, 0.8)), data()


def low_rank():
    def squeeze(w):
        w.copy_(torch.randn(128, 8) @ torch.randn(8, 128) * 0.04)

    return spoil(dense(), "4.weight", squeeze), data()


class Branches(nn.Module):
    """Residual branches of unit gain, and nothing that holds them."""

    def __init__(self, depth=24):
        super().__init__()
        self.branches = nn.ModuleList(
            draw_he(nn.Sequential(nn.Linear(192, 192), nn.ReLU())) for _ in range(depth)
        )
        self.head = nn.Linear(192, 10)

    def forward(self, x):
        for branch in self.branches:
            x = x + branch(x)
        return self.head(x)


def not_as_asked():
    model = dense()
    nn.init.xavier_uniform_(model[2].weight)
    return model, data(), {"expected": {"[024].weight": "he_normal"}}


def negative_shift():
    model, batch = images(32)[0].flatten(1), torch.arange(32) % 10
    return dense(inputs=model.shape[1]), (model * 40 - 100, batch)


def explosive_chain():
    model = dense((128,) * 12)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.3)
    return model, data()


def vanished_sigmoid():
    model = dense((128,) * 8, activation=nn.Sigmoid)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    return model, data()


DEFECTS = {
    # what is planted: (factory, name of the finding, level, where)
    "one constant layer": (constant_layer, "copied_units", "warning", "2.weight"),
    "0.5 everywhere": (constant_half, "duplicate_units", "error", "0.weight"),
    "one draw for two layers": (tied_draw, "shared_draw", "warning", "4.weight"),
    "cloned encoder layers": (
        cloned_encoder,
        "shared_draw",
        "warning",
        "layers.1.linear1.weight",
    ),
    "ten times He": (ten_times, "oversized_weights", "warning", "2.weight"),
    "a third of a layer dead": (dead_third, "dead_units", "warning", "2"),
    "a whole layer dead": (dead_layer, "dead_units", "error", "2"),
    "dead channels": (dead_channels, "dead_units", "warning", "4.bn1"),
    "weights of one sign": (negative_weights, "dead_units", "error", "2"),
    "no gradient before": (dead_layer, "no_gradient", "error", "0.weight"),
    "forgotten biases": (forgotten_biases, "default_biases", "note", "2.bias"),
    "forgotten layer": (forgotten_layer, "left_at_default", "note", "4.weight"),
    "wrong fan": (
        lambda: (*wrong_fan(), {"expected": {"?.weight": "he_normal"}}),
        "unexpected_law",
        "warning",
        "2.weight",
    ),
    "memory never written": (
        empty_head,
        "uninitialized_memory",
        "error",
        "6.weight",
    ),
    "float16 underflow": (half_underflow, "flushed_gradients", "warning", "0.weight"),
    "double softmax": (double_softmax, "double_softmax", "warning", None),
    "probabilities as logarithms": (
        probabilities_to_nll,
        "wrong_outputs",
        "error",
        None,
    ),
    "clipped loss": (clipped_loss, "abandoning_loss", "warning", None),
    "Xavier, 30 ReLU layers": (deep_xavier, "signal_vanishes", "warning", "0"),
    "default, 30 ReLU layers": (deep_default, "gradient_vanishes", "warning", "60"),
    "default, inputs alike": (deep_default, "inputs_collapse", "warning", "60"),
    "zeros": (all_zero, "no_gradient", "error", "2.weight"),
    "copied units": (copied_units, "duplicate_units", "warning", "2.weight"),
    "copied channels": (
        copied_channels,
        "duplicate_units",
        "warning",
        "4.conv1.weight",
    ),
    "saturated tanh": (saturated_tanh, "saturated_units", "warning", "2"),
    "saturated sigmoid": (saturated_sigmoid, "saturated_units", "warning", "0"),
    "NaN weight": (nan_weights, "nonfinite_weights", "error", "2.weight"),
    "NaN signal": (nan_weights, "nonfinite_signal", "error", "2"),
    "gamma zero everywhere": (zero_gammas, "no_gradient", "error", "1.weight"),
    "closed forget gates": (closed_forget_gates, "short_memory", "warning", None),
    "long sequences": (long_sequences, "short_memory", "note", None),
    "embedding of unit variance": (
        large_embedding,
        "high_initial_loss",
        "warning",
        None,
    ),
    "frozen layers": (frozen_layers, "frozen_parameters", "note", "0.weight"),
    "unused layer": (
        lambda: (Forgetful(), data()),
        "unused_parameters",
        "warning",
        "unused.weight",
    ),
    "detached body": (
        lambda: (Detached(), data()),
        "detached",
        "warning",
        "body.0.weight",
    ),
    "raw pixels": (raw_pixels, "unusual_inputs", "warning", None),
    "the same input": (equal_inputs, "equal_inputs", "warning", None),
    "loud head": (loud_head, "high_initial_loss", "warning", None),
    "low rank": (low_rank, "lost_rank", "warning", "4.weight"),
    "residual branches unheld": (
        lambda: (Branches(), data()),
        "stream_explodes",
        "warning",
        None,
    ),
    "not as asked": (not_as_asked, "unexpected_law", "warning", "2.weight"),
    "unnormalized inputs": (negative_shift, "unusual_inputs", "warning", None),
    "exploding chain": (explosive_chain, "signal_explodes", "warning", "0"),
    "exploding gradient": (explosive_chain, "gradient_explodes", "warning", "24"),
    "sigmoid in eight layers": (vanished_sigmoid, "gradient_vanishes", "warning", "0"),
    "constant outputs": (all_zero, "constant_outputs", "error", None),
}


@lru_cache
def findings_of(defect):
    torch.manual_seed(0)
    model, batch, *options = DEFECTS[defect][0]()
    return check(model, batch, **(options[0] if options else {})).findings


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_found(defect):
    _, name, level, where = DEFECTS[defect]
    said = [(f.level, f.name, f.where) for f in findings_of(defect)]
    found = [one for one in said if one[1] == name]
    assert level in {one[0] for one in found}, said
    if where is not None:
        assert any(where in one[2] for one in found), said


def test_the_network_in_which_the_defects_are_planted_has_no_finding():
    for seed in range(20):
        torch.manual_seed(seed)
        assert not check(dense(), data()).findings


def test_a_finding_says_what_why_how_and_what_to_do():
    seen = set()
    for defect in DEFECTS:
        for finding in findings_of(defect):
            seen.add(finding.name)
            assert finding.what[-1] == finding.why[-1] == finding.advice[-1] == "."
            assert not finding.how.endswith(".")
            assert finding.level in ("note", "warning", "error")
    assert len(seen) > 25


def test_a_tie_that_the_first_step_breaks_is_a_note():
    model = spoil(dense(), "2.weight", lambda w: w.fill_(0.02))
    checkup = check(spoil(model, "2.bias", lambda b: b.uniform_(0, 1)), data())
    # the units are copies, but what lies behind gives each its own gradient
    assert "copied_units" in {f.name for f in checkup.findings}
    assert "duplicate_units" not in {f.name for f in checkup.findings}


def test_constant_units_stay_equal_in_training_as_the_finding_says():
    torch.manual_seed(0)
    model, (x, y) = constant_half()
    assert check(model, (x, y)).findings
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    for _ in range(5):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    rows = model[2].weight.detach()
    torch.testing.assert_close(rows, rows[:1].expand_as(rows))


def test_units_without_a_gradient_do_not_move_as_the_finding_says():
    torch.manual_seed(0)
    model, (x, y) = zero_gammas()
    before = copy.deepcopy(dict(model.named_parameters()))
    [finding] = [f for f in check(model, (x, y)).findings if f.name == "no_gradient"]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    for name in finding.where:
        torch.testing.assert_close(model.get_parameter(name), before[name])


def test_zero_heads_start_one_step_later_as_the_note_says():
    torch.manual_seed(0)
    model, (x, y) = spoil(dense(), "6.weight", nn.init.zeros_), data()
    checkup = check(model, (x, y))
    [note] = [f for f in checkup.findings if f.name == "late_start"]
    assert not checkup.at_or_above("warning")
    before = copy.deepcopy(dict(model.named_parameters()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    for name in note.where:
        assert not torch.equal(model.get_parameter(name), before[name])


def test_gpt2_is_healthy_at_its_own_scale_and_not_at_ten_times():
    torch.manual_seed(0)
    model, batch = gpt()
    assert not check(model, batch).at_or_above("warning")
    wide = draw_gpt2(GPT())
    with torch.no_grad():
        wide.tokens.weight.mul_(30)
    assert check(wide, batch).at_or_above("warning")
