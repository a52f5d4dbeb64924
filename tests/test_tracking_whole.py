"""What made the whole deviation, how directions turned, what a probe says: by hand."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import birthmark as bm
from birthmark.errors import SpecError
from birthmark.measurements import measure
from birthmark.theory import MOST_EVALUATIONS, find_critical_step
from birthmark.tracking import ATTRIBUTION, DIRECTIONS, LogSpaced, undisturbed


def batch(step):
    draws = torch.Generator().manual_seed(step)
    return torch.randn(9, 7, generator=draws, dtype=torch.float64)


def train(model, optimizer, steps):
    """The gradients and the weights before each step."""
    kept = []
    for step in steps:
        optimizer.zero_grad()
        model(batch(step)).square().mean().backward()
        w, g = model.weight.detach().clone(), model.weight.grad.clone()
        optimizer.step()
        optimizer.param_groups[0]["lr"] *= 0.97  # a schedule is followed
        kept.append((w, g))
    return kept


def by_hand(kind, kept, lr=0.05, decay=0.3):
    """Sums of what gradients and decay made, by the formulas of the optimizers."""
    by_gradient = by_decay = torch.zeros_like(kept[0][0])
    m = v = by_gradient
    for step, (w, g) in enumerate(kept, 1):
        if kind == "sgd":
            by_gradient = by_gradient - lr * g
            by_decay = by_decay - lr * decay * w
        else:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g.square()
            size = (v / (1 - 0.999**step)).sqrt() + 1e-8
            by_gradient = by_gradient - lr / (1 - 0.9**step) * 0.1 * g / size
            by_decay = by_decay - lr * decay * w
        lr *= 0.97
    return by_gradient, by_decay


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_the_whole_deviation_is_shared_out_through_a_resume(kind, tmp_path):
    torch.manual_seed(0)
    model = nn.Linear(7, 5, bias=False).double()
    start = model.weight.detach().clone()

    def make(model):
        rule = {"lr": 0.05, "weight_decay": 0.3}
        if kind == "sgd":
            optimizer = torch.optim.SGD(model.parameters(), momentum=0.8, **rule)
        else:
            optimizer = torch.optim.AdamW(model.parameters(), **rule)
        settings = {"store": tmp_path, "schedule": [5, 12]}
        return optimizer, bm.Tracker(
            model, optimizer, measurements=("distance", *ATTRIBUTION), **settings
        )

    optimizer, tracker = make(model)
    kept = train(model, optimizer, range(5))
    states = [x.state_dict() for x in (model, optimizer, tracker)]
    states = copy.deepcopy(states)
    tracker.close()
    again = nn.Linear(7, 5, bias=False).double()
    optimizer, tracker = make(again)
    for one, state in zip((again, optimizer, tracker), states, strict=True):
        one.load_state_dict(state)
    kept += train(again, optimizer, range(5, 12))
    move = again.weight.detach() - start
    parts = by_hand(kind, kept)
    parts = (*parts, move - parts[0] - parts[1])
    expected = [float((part * move).sum() / move.square().sum()) for part in parts]
    at = tracker.records.isel(replica=0).sel(parameter="weight", step=12)
    found = [float(at[name]) for name in ATTRIBUTION]
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    assert abs(expected[2]) > 0.1  # momentum did something


def test_the_whole_of_an_unknown_rule_is_not_shared_out():
    model = nn.Linear(7, 5, bias=False).double()
    optimizer = torch.optim.Rprop(model.parameters())
    tracker = bm.Tracker(model, optimizer, schedule=1, measurements=ATTRIBUTION)
    train(model, optimizer, range(2))
    assert np.isnan(tracker.records[ATTRIBUTION[0]].values).all()


# --- directions ---


def turned(angle):
    """A matrix whose two largest directions of each side turned, of ten."""
    draws = torch.Generator().manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(12, 12, generator=draws, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(10, 10, generator=draws, dtype=torch.float64))
    values = torch.tensor([9.0, 8, 3, 2.5, 2, 1.5, 1, 0.8, 0.5, 0.2]).double()
    turn = torch.eye(12, dtype=torch.float64)
    c, s = np.cos(angle), np.sin(angle)
    turn[:4, :4] = torch.tensor(
        [[c, 0, -s, 0], [0, c, 0, -s], [s, 0, c, 0], [0, s, 0, c]]
    )
    one = u[:, :10] * values @ v.T
    other = (u @ turn)[:, :10] * values @ (v @ turn[:10, :10]).T
    return one, other, values


@pytest.mark.parametrize("flip", [False, True])
def test_turned_directions_with_the_same_spectrum(flip):
    one, other, _ = turned(0.4)
    one, other = (one.T, other.T) if flip else (one, other)
    found = measure({"w": one}, {"w": other}, kind="all", only=DIRECTIONS).squeeze()
    # two of ten directions count, and both turned by the same angle
    assert found.subspace_rotation.item() == pytest.approx(np.sin(0.4) ** 2, rel=1e-9)
    assert found.spectrum_drift.item() == pytest.approx(0, abs=1e-7)
    assert found.intruder_dimensions.item() == 0
    assert found.spectrum_drift_by_noise.item() > 0.01


def test_a_longer_spectrum_in_the_same_directions():
    one, _, values = turned(0.0)
    found = measure({"w": one}, {"w": 1.25 * one}, kind="all", only=DIRECTIONS)
    assert found.subspace_rotation.item() == pytest.approx(0, abs=1e-9)
    assert found.spectrum_drift.item() == pytest.approx(0.25, rel=1e-9)
    at = measure({"w": one}, {"w": 1.25 * one}).relative_distance
    assert found.spectrum_drift.item() == pytest.approx(at.item())


def test_intruders_are_counted_and_noise_of_their_size_makes_fewer():
    draws = torch.Generator().manual_seed(1)
    w = torch.randn(80, 60, generator=draws, dtype=torch.float64)
    low = torch.zeros_like(w)
    for _ in range(3):
        a, b = (torch.randn(n, generator=draws).double() for n in (80, 60))
        low += 60 * torch.outer(a / a.norm(), b / b.norm())
    found = measure({"w": w}, {"w": w + low}, kind="all", only=DIRECTIONS).squeeze()
    before, after = (np.linalg.svd(x.numpy())[0] for x in (w, w + low))
    cosines = np.abs(before[:, :60].T @ after[:, :10]).max(axis=0)
    assert found.intruder_dimensions.item() == (cosines < 0.5).sum() >= 3
    k = 10
    expected = []
    for side in (0, 2):
        x, y = (np.linalg.svd(m.numpy())[side] for m in (w, w + low))
        x, y = (x[:, :k], y[:, :k]) if side == 0 else (x[:k].T, y[:k].T)
        expected.append(1 - np.square(x.T @ y).sum() / k)
    assert found.subspace_rotation.item() == pytest.approx(np.mean(expected))
    assert found.subspace_rotation.item() > 0.2


def test_directions_are_recorded_at_sparse_steps_where_they_are_asked_for():
    model = nn.Linear(7, 5).double()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    tracker = bm.Tracker(
        model,
        optimizer,
        schedule=LogSpaced(arrays_every=2),
        measurements=("distance", *DIRECTIONS),
    )
    train(model, optimizer, range(5))
    records = tracker.records
    assert records.subspace_rotation.dropna("distribution_step", how="all").size
    assert list(records.distribution_step.values) == [1, 4]
    plain = bm.measure({"w": torch.eye(4)}, {"w": torch.eye(4)})
    assert not {*DIRECTIONS} & set(plain.data_vars)


# --- a probe ---


def test_the_critical_step_of_a_parabola_is_its_curvature():
    count = 0

    def loss(x):
        nonlocal count
        count += 1
        return -2 * 3.0 * x + 3.0**2 / 20 * x**2

    for guess in (2.0, 13.4, 50.0):
        count = 0
        found = find_critical_step(loss, guess)
        assert found == pytest.approx(40 / 3, rel=0.2 if guess == 2 else 0.05)
        assert count <= MOST_EVALUATIONS < 10
    assert np.isnan(find_critical_step(lambda x: -x))
    assert np.isnan(find_critical_step(lambda x: x))
    assert np.isnan(find_critical_step(lambda x: x and float("nan")))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(15, 4)

    def forward(self, x):
        h = self.drop(self.norm(self.first(x)).relu())
        return self.last(h.flatten(1))


def test_a_probe_says_what_moved_weights_do_and_disturbs_nothing():
    def run(probed):
        torch.manual_seed(0)
        model = Net()
        x = torch.randn(6, 2, 5)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        probe = (lambda m: m(x).square().mean()) if probed else None
        tracker = bm.Tracker(model, optimizer, schedule=1, probe=probe)
        tracker.begin()  # before any forward pass moves statistics
        states = [copy.deepcopy(model.state_dict())]
        for _ in range(4):
            optimizer.zero_grad()
            model(torch.randn(6, 2, 5)).square().mean().backward()
            optimizer.step()
            states.append(copy.deepcopy(model.state_dict()))
        return model, x, states, tracker

    _, _, plain, _ = run(False)
    model, x, states, tracker = run(True)
    for one, other in zip(plain, states, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert model.training and not model.first._forward_pre_hooks
    at = tracker.records.isel(replica=0).sel(step=4)
    reached = []
    for state in (states[0], states[4]):
        model.load_state_dict(state)
        model.eval()
        h = model.norm(model.first(x)).relu().flatten(1).detach()
        reached.append(h.double())
    w0, w = (s["last.weight"].double() for s in (states[0], states[4]))
    base = (reached[0] @ w0.T).norm()
    own = (reached[1] @ (w - w0).T).norm() / base
    below = ((reached[1] - reached[0]) @ w0.T).norm() / base
    noise = (w - w0).norm() * reached[1].norm() / 15**0.5 / base
    last = at.sel(parameter="last.weight")
    assert last.output_by_weights.item() == pytest.approx(float(own), rel=1e-5)
    assert last.output_by_inputs.item() == pytest.approx(float(below), rel=1e-5)
    assert last.output_by_noise.item() == pytest.approx(float(noise), rel=1e-5)
    c0, c = (s["first.weight"].double() for s in (states[0], states[4]))
    conv = nn.functional.conv1d
    own = conv(x.double(), c - c0, padding=1).norm()
    own = own / conv(x.double(), c0, padding=1).norm()
    first = at.sel(parameter="first.weight")
    assert first.output_by_weights.item() == pytest.approx(float(own), rel=1e-5)
    assert first.output_by_inputs.item() == 0
    assert np.isnan(at.sel(parameter="last.bias").output_by_weights.item())


def test_critical_sharpness_is_the_curvature_along_the_step():
    """Of a linear model with squared loss it is the Rayleigh quotient of the step."""
    torch.manual_seed(0)
    model = nn.Linear(7, 1, bias=False).double()
    x, y = torch.randn(40, 7).double(), torch.randn(40, 1).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    probe = lambda m: mse_loss(m(x), y)  # noqa: E731
    tracker = bm.Tracker(model, optimizer, schedule=1, probe=probe)
    hessian = 2 / 40 * x.T @ x
    for _ in range(6):
        optimizer.zero_grad()
        probe(model).backward()
        step = model.weight.grad.clone()[0]
        optimizer.step()
    at = tracker.records.isel(replica=0).sel(step=6)
    expected = float(step @ hessian @ step / (step @ step))
    assert at.critical_sharpness.item() == pytest.approx(expected, rel=0.05)
    multiple = 2 / (0.05 * at.critical_sharpness.item())
    assert at.critical_step.item() == pytest.approx(multiple)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (lambda: {"w": torch.ones(3)}, {}, "the model is a function"),
        (nn.Linear(2, 2), {"keep": "sample"}, "needs the whole start"),
    ],
)
def test_what_cannot_be_probed_is_refused(model, options, words):
    with pytest.raises(SpecError, match=words):
        bm.Tracker(model, probe=lambda m: 0.0, **options)


def test_a_buffer_that_a_pass_puts_anew_is_put_back():
    class Counting(nn.Linear):
        def __init__(self):
            super().__init__(3, 3)
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x):
            self.seen = self.seen + 1  # another tensor, as running means are kept
            return super().forward(x)

    model = Counting()
    before = model.seen
    with undisturbed(model):
        model(torch.ones(1, 3))
        assert model.seen.item() == 1
    assert model.seen is before and before.item() == 0
