"""What people do in their own losses, lists and tables, told by its cause and place."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from birthmark.checkup import check
from birthmark.errors import BirthmarkError


def small(outputs=5, *last):
    torch.manual_seed(0)
    layers = [nn.Linear(16, 48), nn.ReLU(), nn.Linear(48, outputs)]
    nn.init.normal_(layers[2].weight, 0, 0.02)
    return nn.Sequential(*layers, *last)


X, CLASSES = torch.randn(40, 16), torch.arange(40) % 5
BITS = (torch.arange(200).reshape(40, 5) * 7 % 5 < 2).float()


def squeezed(outputs, target):
    return functional.binary_cross_entropy_with_logits(outputs.sigmoid(), target)


def softened(model, batch):
    return functional.cross_entropy(model(batch[0]).softmax(-1), batch[1])


def likelihood(outputs, target):
    return functional.nll_loss(outputs, target)


class Scores(nn.Module):
    """Features of a convolution, and a table of positions that is added."""

    def __init__(self, size):
        super().__init__()
        self.features = nn.Conv1d(4, 32, 3, padding=1)
        self.positions = nn.Parameter(torch.randn(1, 20, 32) * size)
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        return self.head((self.features(x).mT + self.positions).relu().mean(1))


class Listed(nn.Module):
    """Layers in a plain list: torch does not see them."""

    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(16, 32), nn.Linear(32, 32)]
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x)


class TiedAutoencoder(nn.Module):
    """One matrix into the code, and back."""

    def __init__(self, value=None):
        super().__init__()
        self.w = nn.Parameter(torch.randn(8, 16) / 4)
        if value is not None:
            nn.init.constant_(self.w, value)

    def forward(self, x):
        return torch.tanh(x @ self.w.T) @ self.w


class TwoBlocks(nn.Module):
    """Two blocks that are built alike, each behind a norm."""

    def __init__(self, factor):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"norm": nn.LayerNorm(16), "out": nn.Linear(16, 16)})
            for _ in range(2)
        )
        self.head = nn.Linear(16, 5)
        with torch.no_grad():
            self.blocks[1]["out"].weight.mul_(factor)

    def forward(self, x):
        for block in self.blocks:
            x = x + block["out"](block["norm"](x))
        return self.head(x)


class ClassToken(nn.Module):
    """A token that gathers from the others, through a branch that is all but shut."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 20) / 50)
        self.norm = nn.LayerNorm(20)
        self.out = nn.Linear(20, 20)
        self.scale = nn.Parameter(torch.full((20,), 1e-6))
        self.head = nn.Sequential(nn.LayerNorm(20), nn.Linear(20, 5))

    def forward(self, x):
        token = self.token.expand(len(x), -1, -1)
        all_of = self.norm(torch.cat([token, x], 1))
        token = token + self.scale * self.out(all_of.mean(1, keepdim=True))
        return self.head(token[:, 0])


Q = torch.randn(32, 4, 20), torch.arange(32) % 5
CASES = {
    # model, batch, options, the loud findings, a tensor that one of them names
    "sigmoid in the loss": (
        lambda: small(),
        (X, BITS),
        {"loss": squeezed},
        {"sigmoid_before_logits"},
        "2.weight",
    ),
    "softmax in the objective": (
        lambda: small(),
        (X, CLASSES),
        {"objective": softened},
        {"double_softmax"},
        "2.weight",
    ),
    "likelihood of logits": (
        lambda: small(),
        (X, CLASSES),
        {"loss": likelihood},
        {"wrong_outputs"},
        "2.weight",
    ),
    "softmax over the examples": (
        lambda: small(5, nn.LogSoftmax(0)),
        (X, CLASSES),
        {"loss": likelihood},
        {"wrong_outputs"},
        None,
    ),
    "logarithms in place": (
        lambda: small(5, nn.LogSoftmax(-1)),
        (X, CLASSES),
        {"loss": likelihood},
        set(),
        None,
    ),
    "a loss that is cut off": (
        lambda: small(),
        (X, CLASSES),
        {"loss": lambda o, t: functional.cross_entropy(o.detach(), t)},
        {"detached"},
        None,
    ),
    "huge positions": (lambda: Scores(1e3), Q, {}, {"unequal_sum"}, "positions"),
    "small positions": (lambda: Scores(0.02), Q, {}, set(), None),
    "a small branch at a token": (ClassToken, Q, {}, set(), None),
    "layers in a list": (
        Listed,
        (X, CLASSES),
        {},
        {"unregistered_parameters"},
        "layers[1].weight",
    ),
    "a constant tied to itself": (
        lambda: TiedAutoencoder(0.1),
        (X, X),
        {},
        {"duplicate_units"},
        "w",
    ),
    "a draw tied to itself": (TiedAutoencoder, (X, X), {}, set(), None),
    "one of two blocks": (
        lambda: TwoBlocks(60),
        (X, CLASSES),
        {},
        {"unlike_siblings"},
        "blocks.1.out.weight",
    ),
    "two blocks, one scaled down": (
        lambda: TwoBlocks(0.3),
        (X, CLASSES),
        {},
        set(),
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_people_do_is_told_by_its_cause_and_place(case):
    make, batch, options, names, where = CASES[case]
    torch.manual_seed(0)
    loud = check(make(), batch, **options).at_or_above("warning")
    said = [(f.name, f.where) for f in loud]
    assert names <= {name for name, _ in said}, said
    assert bool(names) == bool(said), said
    if where is not None:
        assert any(where in at for name, at in said if name in names), said


def test_a_single_relu_that_is_silent_by_chance_is_a_note():
    class Density(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.colour = nn.Linear(3, 32), nn.Linear(32, 3)
            self.density = nn.Linear(32, 1)

        def forward(self, x):
            h = functional.relu(self.body(x))
            both = functional.relu(self.density(h)), self.colour(h).sigmoid()
            return torch.cat(both, dim=-1)

    said = []
    for seed in range(12):
        torch.manual_seed(seed)
        model, x = Density(), torch.rand(64, 3) * 0.2 + 1
        checkup = check(model, (x, torch.rand(64, 4)))
        assert not checkup.at_or_above("warning"), checkup.text()
        hidden = functional.relu(model.body(x))
        silent = bool((model.density(hidden) <= 0).all())
        told = any(f.name == "silent_by_chance" for f in checkup.findings)
        assert told == silent
        said.append(told)
    assert 2 < sum(said) < 10  # half of all draws, by symmetry


def test_a_rule_has_the_mean_zero():
    model = small()
    nn.init.normal_(model[0].weight, 0.5, 0.02)
    first = check(model, (X, CLASSES)).tensors[0]
    assert (first.family, first.rules) == ("normal", ())
    assert f"mean {model[0].weight.double().mean():.4g}" in first.law


class Odd(nn.Module):
    """Matrices that meet the data side by side, one input wide, or through zeros."""

    def __init__(self):
        super().__init__()
        self.time = nn.Linear(1, 16)
        self.one, self.two = (nn.Parameter(torch.randn(8, 16) / 4) for _ in range(2))
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        parts = torch.zeros(len(x), 2, 16)
        parts[:, 0] = functional.linear(x, torch.cat([self.one, self.two]))
        parts[:, 1] = self.time(x[:, :1])
        return self.head(parts.relu().mean(1))


def test_matrices_side_by_side_and_of_one_input_are_matrices():
    torch.manual_seed(0)
    checkup = check(Odd(), (X, CLASSES))
    read = {t.name: (t.role, t.fan_in, t.is_upstream) for t in checkup.tensors}
    assert read["one"] == read["two"] == ("weight", 16, True)
    assert read["time.weight"] == ("weight", 1, True)
    assert read["head.weight"] == ("weight", 16, True)
    assert not checkup.findings and not checkup.unread


class Bare(nn.Module):
    def forward(self, x):
        return x[:, :5]


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize(
    "make, said",
    [
        (Bare, "has no parameters"),
        (lambda: torch.jit.script(nn.Linear(16, 5)), "ScriptModule"),
    ],
)
def test_what_cannot_be_checked_is_refused_in_one_line(make, said):
    with pytest.raises(BirthmarkError, match=said) as refused:
        check(make(), (X, CLASSES))
    assert "\n" not in str(refused.value)


def test_sparse_inputs_are_read_as_an_objective_takes_them():
    def objective(model, batch):
        return functional.cross_entropy(model(batch[0].to_dense()), batch[1])

    found = check(small(), (X.to_sparse(), CLASSES), objective=objective)
    assert not found.at_or_above("warning")
