"""Fixup's scalars, against a network that has them written out as in the paper."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, relu

from birthmark.errors import SpecError
from birthmark.network import FixupLayer, add_fixup_scalars_, fixup_

X = torch.randn(24, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24) % 4


class Block(nn.Module):
    """A plain residual block: activations are functions, and nothing has a scalar."""

    def __init__(self):
        super().__init__()
        self.first, self.second = (nn.Linear(6, 6, bias=False) for _ in range(2))

    def forward(self, x):
        return relu(x + self.second(relu(self.first(x))))


class Plain(nn.Module):
    def __init__(self, depth=4):
        super().__init__()
        self.stem = nn.Linear(6, 6, bias=False)
        self.blocks = nn.Sequential(*[Block() for _ in range(depth)])
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.blocks(relu(self.stem(x))))


class WrittenOut(nn.Module):
    """The same with figure 1 (right) of 1901.09321: bias, layer, bias, multiplier."""

    def __init__(self, plain):
        super().__init__()
        self.w = nn.ParameterDict(
            {
                name.replace(".", "_"): nn.Parameter(value.detach().clone())
                for name, value in plain.named_parameters()
            }
        )
        self.depth = len(plain.blocks)
        zeros, ones = torch.zeros(self.depth), torch.ones(self.depth)
        self.a, self.b, self.c, self.d = (nn.Parameter(zeros.clone()) for _ in "abcd")
        self.multiplier = nn.Parameter(ones)
        self.ends = nn.Parameter(torch.zeros(4))

    def forward(self, x):
        w = self.w
        x = relu((x + self.ends[0]) @ w["stem_weight"].T + self.ends[1])
        for i in range(self.depth):
            inner = (x + self.a[i]) @ w[f"blocks_{i}_first_weight"].T + self.b[i]
            inner = (relu(inner) + self.c[i]) @ w[f"blocks_{i}_second_weight"].T
            x = relu(x + self.multiplier[i] * inner + self.d[i])
        z = (x + self.ends[2]) @ w["head_weight"].T + w["head_bias"]
        return z + self.ends[3]


def train(net, steps=8):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(net(X), Y).backward()
        optimizer.step()
    return net(X)


def test_a_network_with_scalars_trains_as_the_paper_writes_it():
    net = Plain()
    fixup_(net, "blocks.?", seed=1)
    before = net(X)
    expected = WrittenOut(net)
    names = add_fixup_scalars_(net, "blocks.?")
    torch.testing.assert_close(net(X), before, rtol=0, atol=0)
    torch.testing.assert_close(train(net), train(expected), rtol=1e-4, atol=1e-5)
    assert len(names) == 10
    assert names[:3] == ["stem", "blocks.0.first", "blocks.0.second"]
    moved = net.blocks[2].second
    assert moved.scale.item() == pytest.approx(expected.multiplier[2].item(), rel=1e-4)
    assert moved.scale.item() != 1
    assert moved.before.item() == pytest.approx(expected.c[2].item(), rel=1e-4)
    assert net.blocks[2].first.scale is None
    assert net.stem.scale is None


def test_a_layer_in_two_places_stays_one_and_dtypes_are_kept():
    shared = nn.Linear(6, 6)
    block = nn.Sequential(nn.Sequential(shared, nn.ReLU(), shared))
    net = block.double()
    assert add_fixup_scalars_(net, "0") == ["0.0", "0.2"]
    assert net[0][0] is net[0][2]
    assert {p.dtype for p in net.parameters()} == {torch.float64}
    assert len(list(net.parameters())) == 5


def test_shortcuts_have_biases_and_no_multiplier():
    net = nn.ModuleDict({"b": nn.ModuleDict({"conv": nn.Conv2d(2, 2, 1)})})
    net["b"]["downsample"] = nn.Conv2d(2, 2, 1)
    add_fixup_scalars_(net, "b")
    assert net["b"]["conv"].scale is not None
    assert net["b"]["downsample"].scale is None
    assert isinstance(net["b"]["downsample"], FixupLayer)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("blocks.9", "no submodule is named"), ("act", "no dense or convolutional layer")],
)
def test_branches_that_are_none_are_refused_untouched(pattern, message):
    net = Plain()
    net.act = nn.ReLU()
    with pytest.raises(SpecError, match=message):
        add_fixup_scalars_(net, pattern)
    assert isinstance(net.stem, nn.Linear)


def test_scalars_are_not_added_twice():
    net = Plain()
    add_fixup_scalars_(net, "blocks.?")
    with pytest.raises(SpecError, match="scalars already"):
        add_fixup_scalars_(net, "blocks.?")
