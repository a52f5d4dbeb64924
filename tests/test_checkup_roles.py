"""Roles come from what a tensor does in the forward pass, not from its class."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from birthmark.checkup import check


class Raw(nn.Module):
    """Matrices, gains and tables that no module of torch holds."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(30, 16))
        self.positions = nn.Parameter(torch.zeros(1, 40, 16))
        self.queries = nn.Parameter(torch.randn(3, 16))
        self.into = nn.Parameter(torch.randn(16, 24) / 4)  # [in, out], as HF's Conv1D
        self.experts = nn.Parameter(torch.randn(5, 24, 8) / 5)  # [E, in, out]
        self.gain = nn.Parameter(torch.ones(8, 1, 1))
        self.shift = nn.Parameter(torch.zeros(8))
        self.pair = nn.Bilinear(8, 16, 4)
        self.project = nn.Linear(16, 16)

    def forward(self, ids):
        x = self.table[ids] + self.positions[:, : ids.shape[1]]
        x = x.mean(1) + self.project(self.queries).mean(0)
        y = functional.relu(x @ self.into)
        y = torch.einsum("bi,eio->beo", y, self.experts).mean(1) + self.shift
        y = (y[:, :, None, None] * self.gain)[:, :, 0, 0]
        return self.pair(y, x)


def test_each_tensor_has_the_role_of_its_use():
    torch.manual_seed(0)
    model = Raw()
    checkup = check(model, (torch.randint(0, 30, (12, 6)), torch.arange(12) % 4))
    roles = {t.name: (t.role, t.fan_in, t.fan_out) for t in checkup.tensors}
    assert roles == {
        "table": ("embedding", None, None),
        "positions": ("position", None, None),
        "queries": ("token", None, None),
        "into": ("weight", 16, 24),
        "experts": ("weight", 24, 8),
        "gain": ("scale", None, None),
        "shift": ("bias", None, None),
        "pair.weight": ("weight", 128, 4),
        "pair.bias": ("bias", None, None),
        "project.weight": ("weight", 16, 16),
        "project.bias": ("bias", None, None),
    }
    assert not checkup.at_or_above("warning"), checkup.text()
    assert not checkup.unread


def test_raw_matrices_have_rows_of_their_own_and_are_predicted():
    torch.manual_seed(0)
    model = Raw()
    checkup = check(model, (torch.randint(0, 30, (12, 6)), torch.arange(12) % 4))
    rows = {layer.name: layer for layer in checkup.layers}
    predicted = 16 * float(model.into.detach().square().mean()) * rows["into"].input
    assert rows["into"].forward_predicted == pytest.approx(predicted, rel=1e-4)
    assert rows["into"].num_units == 24


def test_what_a_layer_computes_with_decides_not_what_it_keeps():
    """Weight norm, pruning: the matrix is a weight, magnitudes are scales."""
    torch.manual_seed(0)
    model = nn.Sequential(
        parametrizations.weight_norm(nn.Conv2d(3, 6, 3)),
        nn.Flatten(),
        nn.Linear(6 * 36, 10),
    )
    prune.l1_unstructured(model[2], "weight", 0.3)
    checkup = check(model, (torch.randn(8, 3, 8, 8), torch.arange(8)))
    roles = {t.name: (t.role, t.fan_in) for t in checkup.tensors}
    magnitude = "0.parametrizations.weight.original0"
    assert roles[magnitude] == ("scale", None)
    assert roles["0.parametrizations.weight.original1"] == ("weight", 27)
    assert roles["2.weight_orig"] == ("weight", 216)
    assert not checkup.at_or_above("warning"), checkup.text()


@pytest.mark.parametrize(
    ("make", "fans"),
    [
        (lambda: nn.Conv2d(8, 12, 3, groups=4), (18, 27)),
        (lambda: nn.ConvTranspose2d(8, 12, 3), (72, 108)),
        (lambda: nn.ConvTranspose2d(8, 12, 3, groups=2), (36, 54)),
        (lambda: nn.Conv2d(8, 8, 3, groups=8), (9, 9)),
    ],
)
def test_fans_are_counted_by_pushing_ones_through(make, fans):
    """One output of ones counts its inputs; one input's gradient counts its outputs."""
    layer = make()
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    x = torch.ones(2, 8, 9, 9, requires_grad=True)
    y = layer(x)
    assert float(y.detach().max()) == fans[0]
    y.sum().backward()
    assert float(x.grad.max()) == fans[1]
    torch.manual_seed(0)
    nn.init.normal_(layer.weight, 0, math.sqrt(2 / fans[0]))
    checkup = check(layer, torch.randn(4, 8, 9, 9))
    weight = next(t for t in checkup.tensors if t.name == "weight")
    assert (weight.fan_in, weight.fan_out) == fans


class ByHand(nn.Module):
    """Products that no call to a matrix product shows at once."""

    def __init__(self):
        super().__init__()
        self.experts = nn.Parameter(torch.randn(4, 12, 20) / 12**0.5)  # [E, in, out]
        self.spread = nn.Parameter(torch.randn(20, 9) / 20**0.5)  # summed by hand
        self.left = nn.Parameter(torch.randn(9, 5) / 3)  # x @ (left @ right)
        self.right = nn.Parameter(torch.randn(5, 7) / 5**0.5)
        self.gain = nn.Parameter(torch.ones(6, 7))  # multiplied in, then averaged

    def forward(self, x):
        chosen = self.experts[torch.arange(len(x)) % 4]
        y = torch.relu(torch.bmm(x[:, None], chosen)[:, 0])
        y = torch.relu((y[..., None] * self.spread).sum(1))
        y = y @ (self.left @ self.right)
        return (y[:, None].expand(-1, 6, -1) * self.gain).mean(1)


def test_products_by_hand_are_products():
    """Chosen experts, sums of products, factors: fans are what is summed over."""
    torch.manual_seed(0)
    checkup = check(ByHand(), (torch.randn(24, 12), torch.arange(24) % 7))
    roles = {t.name: (t.role, t.fan_in, t.fan_out) for t in checkup.tensors}
    assert roles == {
        "experts": ("weight", 12, 20),
        "spread": ("weight", 20, 9),
        "left": ("weight", 9, 5),
        "right": ("weight", 5, 7),
        "gain": ("scale", None, None),
    }
    assert not checkup.at_or_above("warning"), checkup.text()
    assert not checkup.unread


def test_the_cause_is_named_where_a_softmax_has_one_key():
    class Short(nn.Module):
        def __init__(self):
            super().__init__()
            self.ask, self.know, self.tell = (nn.Linear(8, 8) for _ in range(3))
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            score = self.ask(x) @ self.know(x).transpose(1, 2)
            return self.head((score.softmax(-1) @ self.tell(x)).mean(1))

    torch.manual_seed(0)
    one = check(Short(), (torch.randn(16, 1, 8), torch.arange(16) % 4))
    found = {f.name: f for f in one.findings}
    assert set(found) == {"single_key"}
    assert {"ask.weight", "know.weight"} == set(found["single_key"].where)
    more = check(Short(), (torch.randn(16, 3, 8), torch.arange(16) % 4))
    assert not more.findings


def test_matrices_in_a_row_are_found_whatever_they_are():
    """Convolutions, through batch norms and biases; one wide inside; none narrow."""

    def found(*layers):
        torch.manual_seed(0)
        net = nn.Sequential(*layers)
        x = torch.randn(16, 3, 8, 8)
        findings = check(net, (x, torch.arange(16) % 4)).findings
        return [(f.level, f.where) for f in findings if f.name == "linear_chain"]

    def convolution(inputs=8, outputs=8, **more):
        return nn.Conv2d(inputs, outputs, 3, padding=1, **more), nn.BatchNorm2d(outputs)

    head = (nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    three = found(*convolution(3), *convolution(), *convolution(), *head)
    assert three == [("warning", ("0.weight", "2.weight", "4.weight"))]
    apart = found(*convolution(3), nn.ReLU(), *convolution(), nn.ReLU(), *head)
    assert apart == []
    separable = found(*convolution(3), *convolution(groups=8), *convolution(), *head)
    assert separable == []
    dense = (nn.Flatten(), nn.Linear(192, 24), nn.ReLU())
    wide = found(
        *dense, nn.Linear(24, 96), nn.Linear(96, 24), nn.ReLU(), nn.Linear(24, 4)
    )
    assert wide == [("warning", ("3.weight", "4.weight"))]
    narrow = found(
        *dense, nn.Linear(24, 6), nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 4)
    )
    assert narrow == []


def test_running_means_of_other_data_are_found_at_their_norm():
    torch.manual_seed(0)
    layers = []
    for width in (3, 8, 8):
        layers += [nn.Conv2d(width, 8, 3), nn.BatchNorm2d(8), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 4, 4)).eval()
    batch = torch.randn(16, 3, 8, 8), torch.arange(16) % 4
    assert "running_statistics" not in {f.name for f in check(net, batch).findings}
    net[4].running_mean.fill_(1e4)
    found = {f.name: f for f in check(net, batch).findings}
    assert found["running_statistics"].where[0] == "4"


class Gated(nn.Module):
    """Branches behind gates of zero, one of each kind that is in use."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.branch = nn.Linear(16, 16)
        self.head = nn.Linear(16, 4)
        size = {"rezero": (), "layer_scale": (16,), "double": (16,)}.get(kind, (16,))
        self.gate = nn.Parameter(torch.zeros(size))
        self.outer = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        y = torch.tanh(self.branch(x))
        if self.kind == "rms":
            y = self.gate * y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-6)
        elif self.kind == "double":  # the gate itself starts behind a gate
            y = self.gate * y
            y = self.outer * (y + 0.1 * x)
        else:
            y = self.gate * y
        return self.head(x + y)


@pytest.mark.parametrize("kind", ["rezero", "layer_scale", "rms", "double"])
def test_branches_behind_zero_gates_start_late_and_are_no_error(kind):
    torch.manual_seed(0)
    checkup = check(Gated(kind), (torch.randn(32, 16), torch.arange(32) % 4))
    names = {f.name: f for f in checkup.findings}
    assert not checkup.at_or_above("warning"), checkup.text()
    assert "branch.weight" in names["late_start"].where


def test_what_stays_without_gradient_is_an_error_though_a_gate_is_near():
    torch.manual_seed(0)
    model = Gated("layer_scale")
    nn.init.zeros_(model.branch.weight)
    nn.init.zeros_(model.branch.bias)  # tanh(0) = 0: the gate gets no gradient either
    checkup = check(model, (torch.randn(32, 16), torch.arange(32) % 4))
    stuck = next(f for f in checkup.findings if f.name == "no_gradient")
    assert stuck.level == "error"
    assert "branch.weight" in stuck.where


def test_few_labels_long_tables_and_scalar_gains_are_no_duplicates():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.positions = nn.Parameter(torch.zeros(50, 16))
            self.norm = nn.utils.parametrizations.weight_norm(nn.Linear(16, 16))
            self.gain = nn.Parameter(torch.ones(16, 1, 1, 1))
            self.head = nn.Linear(16, 100)
            nn.init.zeros_(self.head.weight)

        def forward(self, x):
            x = x + self.positions[: x.shape[1]]
            return self.head(self.norm(x).mean(1) * self.gain.flatten())

    torch.manual_seed(0)
    checkup = check(Model(), (torch.randn(8, 5, 16), torch.arange(8) % 3))
    assert not checkup.at_or_above("warning"), checkup.text()
    assert "duplicate_units" not in {f.name for f in checkup.findings}


def test_attention_is_one_hot_where_plain_torch_says_so():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(32, 4, batch_first=True)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = attention

        def forward(self, x):
            return self.attention(x, x, x)[0]

    x = torch.randn(6, 12, 32)
    with torch.no_grad():
        attention.in_proj_weight[:64].mul_(12)
    _, weights = attention(x, x, x, average_attn_weights=False)
    checkup = check(Model(), x)
    (read,) = checkup.circuits.attention
    assert read.largest == pytest.approx(
        float(weights.detach().amax(-1).mean()), rel=1e-3
    )
    found = next(f for f in checkup.findings if f.name == "one_hot_attention")
    assert found.where == ("attention.in_proj_weight",)
    assert found.values["largest"] == read.largest
    with torch.no_grad():
        attention.in_proj_weight[:64].div_(12)
    healthy = check(Model(), x)
    assert "one_hot_attention" not in {f.name for f in healthy.findings}
