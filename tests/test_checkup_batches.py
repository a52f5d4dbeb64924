"""Real batches and losses: what a model and a training loop hand over."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from birthmark.checkup import assert_healthy, check
from birthmark.errors import SpecError


def model(inputs=12, outputs=4):
    torch.manual_seed(0)
    layers = (nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, outputs))
    return nn.Sequential(*layers)


X = torch.randn(24, 12, generator=torch.Generator().manual_seed(1))
Y = torch.arange(24) % 4


class Shifted(nn.Module):
    """A causal language model that computes its own loss, as transformers' do."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 16), nn.Linear(16, 20)

    def forward(self, input_ids, labels=None, **rest):
        logits = self.head(self.embedding(input_ids))
        loss = None
        if labels is not None:
            flat = logits[:, :-1].flatten(0, 1)
            loss = functional.cross_entropy(flat, labels[:, 1:].flatten())
        return {"loss": loss, "logits": logits}


def test_a_loss_that_the_model_returns_is_believed():
    torch.manual_seed(0)
    ids = torch.randint(0, 20, (6, 9))
    language = Shifted()
    expected = float(language(ids, ids)["loss"].detach())
    checkup = check(language, {"input_ids": ids, "labels": ids})
    assert checkup.outcome.loss == pytest.approx(expected)
    assert checkup.outcome.loss_name == "the model's own loss"

    class Scalar(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model()

        def forward(self, x, y):
            return functional.cross_entropy(self.inner(x), y)

    checkup = check(Scalar(), (X, Y))
    assert checkup.outcome.loss == pytest.approx(
        float(functional.cross_entropy(model()(X), Y).detach())
    )
    assert all(t.gradient for t in checkup.tensors)


def test_an_objective_is_called_with_model_and_batch():
    given = []

    def objective(net, batch):
        given.append(batch)
        first, second = batch["views"]
        return (net(first) - net(second)).square().mean()

    batch = {"views": (X, X + 0.1), "names": ["a", "b"]}
    checkup = check(model(), batch, objective=objective)
    assert given[0]["names"] == ["a", "b"]
    net = model()
    expected = float((net(X) - net(X + 0.1)).square().mean().detach())
    assert checkup.outcome.loss == pytest.approx(expected, rel=1e-5)
    with pytest.raises(SpecError, match="returns float"):
        check(model(), batch, objective=lambda net, b: 1.0)
    with pytest.raises(SpecError, match="not both"):
        check(model(), batch, objective=objective, loss="nll")


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (Y.int(), "cross_entropy"),
        (Y.tolist(), "cross_entropy"),
        (Y.numpy().astype(">i8"), "cross_entropy"),
        (Y[:, None], "cross_entropy"),
        (Y.numpy().astype("uint16"), "cross_entropy"),
        ({"labels": Y}, "cross_entropy"),
        (functional.one_hot(Y), "cross_entropy"),
        (functional.one_hot(Y).float() * 0.8 + 0.05, "cross_entropy"),
        (torch.rand(24, 4) < 0.5, "binary_cross_entropy"),
        (torch.randn(24, 4), "mean_squared_error"),
    ],
)
def test_targets_of_each_kind_find_their_loss(target, name):
    checkup = check(model(), (X, target))
    assert checkup.outcome.loss_name == name
    assert not checkup.unread


def test_a_sum_is_no_larger_than_a_mean():
    summed = check(model(), (X, Y), loss=nn.CrossEntropyLoss(reduction="sum"))
    mean = check(model(), (X, Y))
    assert summed.outcome.loss == pytest.approx(mean.outcome.loss, rel=1e-5)
    assert [f.name for f in summed.findings] == [f.name for f in mean.findings]
    for a, b in zip(summed.layers, mean.layers, strict=True):
        assert a.backward == pytest.approx(b.backward, rel=1e-4)


def test_a_loss_is_held_against_itself_where_all_classes_are_alike():
    """Sums over places and other factors are no large losses; a large head is one."""
    torch.manual_seed(0)
    ids = torch.randint(0, 20, (16, 9))
    language = nn.Sequential(nn.Embedding(20, 32), nn.Linear(32, 20))

    def summed(outputs, target):
        flat = outputs.flatten(0, 1), target.flatten()
        return functional.cross_entropy(*flat, reduction="sum")

    checkup = check(language, (ids, ids), loss=summed)
    assert not checkup.findings, checkup.text()
    equal = 9 * float(np.log(20))  # nine places an example
    assert checkup.outcome.loss_of_equal == pytest.approx(equal, rel=1e-5)
    tripled = check(
        model(), (X, Y), loss=lambda o, t: 3 * functional.cross_entropy(o, t)
    )
    assert not tripled.findings
    with torch.no_grad():
        language[1].weight.mul_(30)
    large = check(language, (ids, ids), loss=summed)
    assert [f.name for f in large.at_or_above("warning")] == ["high_initial_loss"]


def test_whatever_way_a_batch_is_meant_the_model_gets_it():
    class Inside(nn.Module):  # takes the batch as a whole, and gives several losses
        def __init__(self):
            super().__init__()
            self.inner = model()

        def forward(self, batch):
            loss = functional.cross_entropy(self.inner(batch["x"]), batch["y"])
            return {"classes": loss, "extra": 0.5 * loss}

    class Wanting(Inside):  # in training it wants its targets, and gives a pair
        def forward(self, x, targets=None):
            if targets is None:
                raise ValueError("targets should not be None in training")
            outputs = self.inner(x)
            return functional.cross_entropy(outputs, targets), outputs

    plain = float(functional.cross_entropy(model()(X), Y).detach())
    whole = check(Inside(), {"x": X, "y": Y}).outcome
    assert whole.loss == pytest.approx(1.5 * plain, rel=1e-5)
    for batch in ((X, Y), {"x": X, "targets": Y}):
        assert check(Wanting(), batch).outcome.loss == pytest.approx(plain, rel=1e-5)

    @dataclass
    class Batch:
        x: torch.Tensor
        y: torch.Tensor

    assert check(model(), Batch(X, Y)).outcome.loss == pytest.approx(plain, rel=1e-5)
    loader = DataLoader(TensorDataset(X, Y), 24)
    with pytest.raises(SpecError, match="one of its batches, next"):
        check(model(), loader)

    def objective(net, batches):
        x, y = next(iter(batches))
        return functional.cross_entropy(net(x), y)

    checkup = check(model(), loader, objective=objective)
    assert checkup.outcome.loss == pytest.approx(plain, rel=1e-5)
    assert checkup.num_examples == 24
    with pytest.raises(SpecError, match=r"is a class: .*CrossEntropyLoss\(\)"):
        check(model(), (X, Y), loss=nn.CrossEntropyLoss)
    assert check(model(), (X.tolist(), Y.tolist())).outcome.loss == pytest.approx(
        plain, rel=1e-5
    )


def test_labels_that_forward_does_not_take_are_the_target():
    checkup = check(model(), {"input": X, "labels": Y, "id": ["a"] * 24})
    assert checkup.outcome.loss_name == "cross_entropy"
    two = nn.Bilinear(12, 12, 4)
    assert check(two, (X, X, Y)).outcome.loss_name == "cross_entropy"
    assert check(two, ((X, X), Y)).outcome.loss_name == "cross_entropy"
    big = X.numpy().astype(">f4")
    assert check(model(), (big, Y.numpy())).outcome.input_moment == pytest.approx(
        float(X.square().mean()), rel=1e-5
    )


def test_auxiliary_heads_and_experts_without_examples_are_notes():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head, self.extra = model(), nn.Linear(4, 4), nn.Linear(4, 4)
            self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

        def forward(self, x):
            y = self.body(x)
            return self.head(y) + self.experts[1](y), self.extra(y)

    checkup = check(Auxiliary(), (X, Y))
    found = {f.name: f for f in checkup.findings}
    assert not checkup.at_or_above("warning"), checkup.text()
    assert found["outside_the_loss"].where == ("extra.weight", "extra.bias")
    assert "experts.0.weight" in found["unused_parameters"].where


def test_odd_tensors_are_read_or_refused_in_one_line():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = model()
            self.empty = nn.Parameter(torch.zeros(0, 3))
            small = torch.randn(4, 4).to(torch.float8_e4m3fn)
            self.small = nn.Parameter(small, requires_grad=False)
            sparse = torch.eye(4).to_sparse()
            self.sparse = nn.Parameter(sparse, requires_grad=False)

        def forward(self, x):
            return self.body(x)

    checkup = check(Odd(), (X, Y))
    laws = {t.name: t for t in checkup.tensors}
    assert laws["small"].dtype == "float8_e4m3fn"
    assert laws["small"].std > 0
    assert laws["sparse"].std > 0
    with pytest.raises(SpecError, match="objective=") as refused:
        check(model(), ["a", object()])
    assert "\n" not in str(refused.value)
    assert np.isfinite(checkup.outcome.loss)


def test_an_optimizer_is_held_against_each_tensor_and_not_stepped():
    net = model()
    held = torch.optim.Adam([p for n, p in net.named_parameters() if n != "2.weight"])
    before = {n: p.clone() for n, p in net.named_parameters()}
    checkup = check(net, (X, Y), optimizer=held)
    found = {f.name: f for f in checkup.findings}
    assert found["outside_the_optimizer"].where == ("2.weight",)
    updates = {t.name: t.update for t in checkup.tensors}
    # Adam's first step is lr for each number with a gradient
    assert updates["0.weight"] == pytest.approx(1e-3, rel=0.05)
    assert updates["2.weight"] is None
    assert not held.state
    assert all(torch.equal(before[n], p) for n, p in net.named_parameters())
    plain = torch.optim.SGD(net.parameters(), lr=50.0)
    checkup = check(net, (X, Y), optimizer=plain)
    functional.cross_entropy(net(X), Y).backward()
    weight = next(t for t in checkup.tensors if t.name == "0.weight")
    step = 50 * float(net[0].weight.grad.square().mean().sqrt())
    assert weight.update == pytest.approx(step, rel=1e-4)
    assert "large_update" in {f.name for f in checkup.findings}


def test_a_test_of_ones_own_can_assert_health():
    assert_healthy(model(), (X, Y))
    net = model()
    torch.nn.init.constant_(net[0].weight, 0.1)
    with pytest.raises(AssertionError, match=r"0\.weight"):
        assert_healthy(net, (X, Y))
    names = [f.name for f in check(net, (X, Y)).at_or_above("warning")]
    assert_healthy(net, (X, Y), ignore=names)
