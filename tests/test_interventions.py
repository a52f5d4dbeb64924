"""Layers put back, lines and transplants, against the same done by hand."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import birthmark as bm
from birthmark.errors import WeightsError
from birthmark.figures import draw_line, draw_rewind

X = torch.randn(64, 12, generator=torch.Generator().manual_seed(0))
Y = X.roll(2, 1).tanh()


def network(seed=0, norm=False):
    torch.manual_seed(seed)
    between = [nn.BatchNorm1d(24)] if norm else []
    return nn.Sequential(nn.Linear(12, 24), *between, nn.ReLU(), nn.Linear(24, 12))


def trained(seed=0, norm=False, steps=200):
    model = network(seed, norm)
    start = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(X), Y).backward()
        optimizer.step()
    return model, start


def loss(model):
    assert not model.training
    assert not torch.is_grad_enabled()
    return nn.functional.mse_loss(model(X), Y)


def by_hand(state, **changed):
    model = network()
    model.load_state_dict(
        {**state, **{n.replace("_", ".", 1): t for n, t in changed.items()}}
    )
    model.eval()
    with torch.no_grad():
        return float(nn.functional.mse_loss(model(X), Y))


def test_rewinding_a_layer_is_loading_its_start():
    model, start = trained()
    end = copy.deepcopy(model.state_dict())
    found = bm.rewind(model, start, loss)
    assert [one.name for one in found.layers] == ["0", "2"]
    assert found.end == pytest.approx(by_hand(end))
    assert found.start == pytest.approx(by_hand(start))
    for one, key in zip(found.layers, ("0", "2"), strict=True):
        put = {n: start[n] for n in start if n.startswith(key)}
        assert one.value == pytest.approx(by_hand({**end, **put}))
        assert one.count == sum(t.numel() for t in put.values())
        assert len(set(one.redrawn)) == 3
    assert f"{max(o.value for o in found.layers):.3g} with it at its start" in str(
        found
    )
    assert "<table>" in found._repr_html_()


def test_a_redraw_has_the_law_of_the_start_and_nothing_of_its_place():
    model, start = trained()
    seen = []

    def keep(model):
        seen.append(model[0].weight.clone())
        return loss(model)

    bm.rewind(model, start, keep, layers=["0"], redraws=2)
    for drawn in seen[:2]:
        assert torch.equal(
            drawn.flatten().sort().values, start["0.weight"].flatten().sort().values
        )
        corr = torch.corrcoef(
            torch.stack([drawn.flatten(), start["0.weight"].flatten()])
        )
        assert abs(float(corr[0, 1])) < 0.25


def test_a_layer_that_did_not_learn_can_go_back_and_the_others_cannot():
    model, start = network(), None
    model[0].requires_grad_(False)
    start = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.Adam(
        [p for p in model.parameters() if p.requires_grad], 0.01
    )
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(X), Y).backward()
        optimizer.step()
    found = bm.rewind(model, start, loss)
    assert found.layers[0].share(found.end) == 0
    assert found.layers[1].share(found.end) > 0.3
    assert "1 of 2 layers can go back" in found.headline


def test_the_line_is_that_by_hand_and_its_ends_are_the_ends():
    model, start = trained()
    end = copy.deepcopy(model.state_dict())
    line = bm.interpolate(model, start, loss, points=5)
    expected = [
        by_hand({n: (1 - a) * start[n] + a * end[n] for n in end})
        for a in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert line.values == pytest.approx(expected, rel=1e-5)
    between = np.linspace(line.values[0], line.values[-1], 5)
    assert line.barrier == pytest.approx((line.values - between).max())
    assert line.is_monotone and "Downhill all the way" in line.headline
    assert line.random[0] == line.values[0] and line.random[-1] > line.values[-1]
    further = bm.interpolate(model, start, loss, points=[0, 1, 1.5])
    assert further.values[1] == pytest.approx(expected[-1], rel=1e-5)


def test_two_solutions_have_a_barrier_between_them():
    model, _ = trained(0)
    other, _ = trained(1)
    line = bm.interpolate(model, other, loss)
    assert line.barrier > 2 * max(line.values[0], line.values[-1])
    assert "A barrier of" in line.headline
    assert bm.interpolate(model, model, loss).barrier == pytest.approx(0, abs=1e-9)


def test_statistics_of_batch_norms_are_those_of_each_point():
    model, start = trained(norm=True)
    end = copy.deepcopy(model.state_dict())
    # the start had seen no batch: its statistics are zero and one
    stale = bm.interpolate(model, start, loss, points=3)
    fresh = bm.interpolate(model, start, loss, points=3, batches=[X])
    assert stale.notes and not fresh.notes
    names = [n for n, _ in model.named_parameters()]
    by_hand_model = network(norm=True)
    half = {n: (start[n] + end[n]) / 2 for n in names}
    by_hand_model.load_state_dict({**end, **half})
    hidden = by_hand_model[0](X)
    by_hand_model[1].running_mean.copy_(hidden.mean(0))
    by_hand_model[1].running_var.copy_(hidden.var(0))
    by_hand_model.eval()
    with torch.no_grad():
        expected = float(nn.functional.mse_loss(by_hand_model(X), Y))
    assert fresh.values[1] == pytest.approx(expected, rel=1e-5)
    assert stale.values[1] != pytest.approx(expected, rel=1e-2)


def test_a_transplant_is_the_donors_layer_or_its_moves():
    model, start = trained(0)
    donor, donor_start = trained(1)
    end, given = model.state_dict(), donor.state_dict()
    found = bm.transplant(model, donor, loss)
    put = {n: given[n] for n in given if n.startswith("2")}
    assert found.layers[1].value == pytest.approx(by_hand({**end, **put}))
    assert found.whole == pytest.approx(by_hand(given))
    moved = bm.transplant(model, donor, loss, starts=(start, donor_start))
    expected = {n: start[n] + given[n] - donor_start[n] for n in start}
    assert moved.whole == pytest.approx(by_hand(expected), rel=1e-5)
    assert found.end == pytest.approx(by_hand(end))
    own = bm.transplant(model, model, loss, starts=(start, start))
    assert own.whole == pytest.approx(own.end, rel=1e-5)


@pytest.mark.parametrize("fails_at", [None, 3])
def test_the_model_is_given_back_as_it_was_whatever_happens(fails_at):
    model, start = trained(norm=True)
    model.train()
    model[0].eval()
    before = copy.deepcopy(model.state_dict())
    gradients = [p.grad.clone() for p in model.parameters()]
    calls = []

    def evaluate(model):
        calls.append(None)
        if len(calls) == fails_at:
            raise KeyboardInterrupt
        return loss(model)

    try:
        bm.rewind(model, start, evaluate, batches=[X])
        assert fails_at is None
    except KeyboardInterrupt:
        assert fails_at == 3
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert [m.training for m in model] == [False, True, True, True]
    for p, gradient in zip(model.parameters(), gradients, strict=True):
        assert p.requires_grad and torch.equal(p.grad, gradient)


def test_half_precision_and_compiled_names_fit():
    model, start = trained()
    half = copy.deepcopy(model).to(torch.bfloat16)
    values = bm.interpolate(
        half, {f"_orig_mod.{n}": t for n, t in start.items()},
        lambda m: nn.functional.mse_loss(m(X.bfloat16()).float(), Y), points=3,
    ).values  # fmt: skip
    assert values == pytest.approx(
        bm.interpolate(model, start, loss, points=3).values, rel=0.1
    )


def test_what_does_not_fit_is_refused_before_anything_is_evaluated():
    model, start = trained()

    def never(model):
        raise AssertionError

    with pytest.raises(WeightsError, match="the start does not fit"):
        bm.rewind(model, {n: t for n, t in start.items() if "2" not in n}, never)
    with pytest.raises(WeightsError, match="layers are 0, 2"):
        bm.rewind(model, start, never, layers=["layers.7"])
    with pytest.raises(WeightsError, match="must rise"):
        bm.interpolate(model, start, never, points=[0, 1, 0.5])


def test_figures_show_what_was_found():
    model, start = trained()
    rewound = bm.rewind(model, start, loss)
    drawing = draw_rewind(rewound)
    assert list(drawing.data["layer"]) == ["0", "2"]
    assert rewound.headline in drawing.caption
    assert drawing.render("png").startswith(b"\x89PNG")
    line = draw_line(bm.interpolate(model, start, loss), metric="mean squared error")
    assert line.render("svg").startswith(b"<?xml")
