"""What one step did and what made it, against the rules of the optimizers by hand."""

import numpy as np
import pytest
import torch
from torch import nn

import birthmark as bm


def make(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Linear(7, 5).to(dtype)


def run(model, optimizer, count, **options):
    tracker = bm.Tracker(model, optimizer, schedule=1, **options)
    kept = []
    for step in range(count):
        draws = torch.Generator().manual_seed(step)
        x = torch.randn(9, 7, generator=draws, dtype=torch.float64)
        x = x.to(model.weight.dtype)
        optimizer.zero_grad()
        model(x).square().mean().backward()
        before = model.weight.detach().clone()
        gradient = model.weight.grad.clone()
        optimizer.step()
        kept.append((before, gradient, model.weight.detach().clone()))
    return tracker, kept


def shares(parts, move):
    return [float((part * move).sum() / move.square().sum()) for part in parts]


NAMES = ("step_by_gradient", "step_by_decay", "step_by_momentum")


@pytest.mark.parametrize("nesterov", [False, True])
def test_shares_of_a_step_of_sgd(nesterov):
    model = make()
    rule = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.3, "nesterov": nesterov}
    tracker, kept = run(model, torch.optim.SGD(model.parameters(), **rule), 6)
    at = tracker.records.isel(replica=0).sel(parameter="weight")
    velocity = torch.zeros_like(model.weight)
    for step, (w, g, after) in enumerate(kept, 1):
        factor = 1.9 if nesterov else 1.0
        by_gradient, by_decay = -0.1 * factor * g, -0.1 * factor * 0.3 * w
        before, velocity = velocity, 0.9 * velocity + g + 0.3 * w
        by_momentum = -0.1 * (0.9 * 0.9 if nesterov else 0.9) * before
        move = after - w
        if step > 1 or not nesterov:
            torch.testing.assert_close(by_gradient + by_decay + by_momentum, move)
            expected = shares((by_gradient, by_decay, by_momentum), move)
            found = [float(at[name].sel(step=step)) for name in NAMES]
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
        ratio = float(move.norm() / w.norm())
        assert at.update_ratio.sel(step=step).item() == pytest.approx(ratio, rel=1e-12)
        assert at.absorbed_share.sel(step=step).item() == 0
    assert np.isnan(at.update_ratio.sel(step=0).item())


def track_unit(unit):
    """Eight steps whose weights and moves all lie in a unit; the loss does not."""
    model = make()
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(unit)
    draws = torch.Generator().manual_seed(1)
    x, c = (torch.randn(9, n, generator=draws, dtype=torch.float64) for n in (7, 5))
    rule = {"lr": 0.01 * unit, "momentum": 0.9, "weight_decay": 0.1 / unit}
    optimizer = torch.optim.SGD(model.parameters(), **rule)
    tracker = bm.Tracker(
        model,
        optimizer,
        schedule=1,
        measurements="all",
        probe=lambda model: float(model(x).abs().mean() / unit),
    )
    for _ in range(8):
        optimizer.zero_grad()
        (model(x) * c).sum().backward()
        optimizer.step()
    return tracker.records


@pytest.mark.parametrize("exponent", [-600, 600])
def test_records_of_weights_whose_squares_vanish_or_overflow(exponent):
    """Powers of two are exact: what has a unit scales, shares and ratios stay."""
    unit, expected = 2.0**exponent, track_unit(1.0)
    found = track_unit(unit)
    assert {"output_by_weights", "step_by_decay"} <= set(expected.data_vars)
    for name, one in expected.data_vars.items():
        if one.dtype.kind == "f":
            factor = unit if one.attrs.get("units") == "weight" else 1.0
            factor = 1 / unit if name == "critical_sharpness" else factor  # 1 / lr
            np.testing.assert_allclose(
                found[name] / factor, one, rtol=1e-9, atol=1e-12, err_msg=str(name)
            )


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_complex_weights_have_the_records_of_both_their_parts(kind):
    """Optimizers of torch step real and imaginary parts each for itself."""
    draws = torch.Generator().manual_seed(0)
    start, pull = torch.randn(2, 5, 4, 2, generator=draws, dtype=torch.float64).unbind()
    found = []
    for is_complex in (False, True):
        model = nn.Module()
        own = start.clone()
        model.w = nn.Parameter(torch.view_as_complex(own) if is_complex else own)
        optimizer = kind(model.parameters(), lr=0.01, weight_decay=0.1)
        tracker = bm.Tracker(model, optimizer, schedule=1, measurements="all")
        for step in range(4):
            optimizer.zero_grad()
            parts = torch.view_as_real(model.w) if is_complex else model.w
            (parts.square() * pull + step * parts).sum().backward()
            optimizer.step()
        found.append(tracker.records)
    for name in (*NAMES, "update_ratio", "distance"):
        np.testing.assert_allclose(found[1][name], found[0][name], 1e-12, 1e-12, name)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_shares_of_a_step_of_adam(kind):
    model = make()
    optimizer = kind(model.parameters(), lr=0.01, weight_decay=0.2)
    tracker, kept = run(model, optimizer, 5)
    at = tracker.records.isel(replica=0).sel(parameter="weight")
    m = v = torch.zeros_like(model.weight)
    is_decoupled = kind is torch.optim.AdamW
    for step, (w, g, after) in enumerate(kept, 1):
        wanted = g if is_decoupled else g + 0.2 * w
        before, m = m, 0.9 * m + 0.1 * wanted
        v = 0.999 * v + 0.001 * wanted.square()
        size = (v / (1 - 0.999**step)).sqrt() + 1e-8
        rate = -0.01 / (1 - 0.9**step) / size
        by_decay = -0.01 * 0.2 * w if is_decoupled else rate * 0.1 * 0.2 * w
        parts = (rate * 0.1 * g, by_decay, rate * 0.9 * before)
        torch.testing.assert_close(sum(parts), after - w)
        found = [float(at[name].sel(step=step)) for name in NAMES]
        np.testing.assert_allclose(
            found, shares(parts, after - w), rtol=1e-7, atol=1e-9
        )


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_decay_alone_goes_as_far_as_its_null_says(kind):
    """A model without a gradient but zero: all that moves it is weight decay."""
    model = make()
    if kind == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.05)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.05)
    tracker = bm.Tracker(model, optimizer, schedule=[4, 8])
    for step in range(8):
        for value in model.parameters():
            value.grad = torch.zeros_like(value)
        if step == 5:
            optimizer.param_groups[0]["lr"] = 0.02  # a schedule is followed
        optimizer.step()
    at = tracker.records.isel(replica=0).sel(step=8)
    expected = 1 - (1 - 0.005) ** 5 * (1 - 0.001) ** 3
    np.testing.assert_allclose(at.distance_by_decay, expected, rtol=1e-12)
    np.testing.assert_allclose(at.relative_distance, expected, rtol=1e-9)
    np.testing.assert_allclose(at.step_by_decay, 1, rtol=1e-9)
    assert "by decay" in str(tracker.summary())


def test_updates_that_rounding_takes_are_counted_and_the_remedy_is_told(caplog):
    model = make(torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    tracker, kept = run(model, optimizer, 3)
    at = tracker.records.isel(replica=0).sel(step=3, parameter="weight")
    before, gradient, after = kept[-1]
    wanted = gradient != 0
    lost = float((wanted & (before == after)).sum() / wanted.sum())
    assert lost > 0.5
    assert at.absorbed_share.item() == pytest.approx(lost)
    (finding,) = (one for one in tracker.findings() if one.name == "absorbed")
    assert "bfloat16" in finding.what and "float32" in finding.advice
    assert sum("rounding to bfloat16 takes" in one for one in caplog.messages) == 1
    healthy = make(torch.float32)
    tracker, _ = run(healthy, torch.optim.SGD(healthy.parameters(), lr=1e-4), 3)
    assert not [one for one in tracker.findings() if one.name == "absorbed"]


class RoundedDescent(torch.optim.Optimizer):
    """Plain descent in float32, whose result is stored in eight bits."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for w in group["params"]:
                w.copy_(w.float() - group["lr"] * w.grad.float())


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_what_eight_bits_keep_of_an_update_is_counted(dtype):
    torch.manual_seed(0)
    model = nn.Module()
    model.weight = nn.Parameter(torch.randn(40, 30).to(dtype))
    start = model.weight.detach().double()
    optimizer = RoundedDescent(model.parameters(), lr=0.05)
    tracker = bm.Tracker(model, optimizer, schedule=1)
    model.weight.grad = torch.randn(40, 30).to(dtype)
    optimizer.step()
    at = tracker.records.isel(replica=0, parameter=0).sel(step=1)
    now, wanted = model.weight.detach().double(), model.weight.grad.double() != 0
    changed = now != start
    lost = float((wanted & ~changed).sum() / wanted.sum())
    assert 0.2 < lost < 1
    assert at.absorbed_share.item() == pytest.approx(lost)
    assert at.changed_share.item() == pytest.approx(float(changed.double().mean()))
    assert at.ulp_change.item() >= at.changed_share.item() / 2
    if lost > 0.5:
        (finding,) = (one for one in tracker.findings() if one.name == "absorbed")
        assert "float8" in finding.what


def test_the_law_of_growth_stands_in_the_summary():
    """A walk of independent steps goes away as the square root of their number."""
    torch.manual_seed(1)
    model = nn.Linear(60, 60, bias=False)
    tracker = bm.Tracker(model)
    for _ in range(300):
        with torch.no_grad():
            model.weight.add_(0.01 * torch.randn(60, 60))
        tracker.step()
    growth = tracker.summary().growth
    exponent = float(growth.partition("step^")[2].partition(",")[0])
    assert exponent == pytest.approx(0.5, abs=0.03)


def test_a_large_tensor_is_looked_at_in_a_sample():
    torch.manual_seed(0)
    model = nn.Linear(300, 200, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    tracker = bm.Tracker(model, optimizer, schedule=1)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(50, 300)).square().mean().backward()
        before = model.weight.detach().clone()
        optimizer.step()
    ratio = float((model.weight.detach() - before).norm() / before.norm())
    at = tracker.records.isel(replica=0, parameter=0).sel(step=3)
    assert at.update_ratio.item() == pytest.approx(ratio, rel=0.03)
    assert sum(at[name].item() for name in NAMES) == pytest.approx(1)
