"""The sums that measurements are made of: C, torch and plain float64 say the same."""

import numpy as np
import pytest
import torch
from scipy import stats

from birthmark.measurements import measure, sums
from birthmark.measurements.sums import NAMES, merge, sum_up

BITS = {torch.float32: 23, torch.float64: 52, torch.bfloat16: 7, torch.float16: 10}
BITS |= {torch.float8_e4m3fn: 3, torch.float8_e5m2: 2}


def draw(dtype, count, replicas=2):
    draws = torch.Generator().manual_seed(3)
    a = torch.randn(replicas, count, generator=draws)
    b = (a + 0.1 + 0.3 * torch.randn(replicas, count, generator=draws)).to(dtype)
    b[:, ::7] = a[:, ::7].to(dtype)
    a[:, ::5] = 0
    return a, b


def by_numpy(a, b, dtype):
    d, size = b - a, np.maximum(np.abs(a), np.abs(b))
    size = np.maximum(size, torch.finfo(dtype).tiny)  # below it the unit stays
    ulp = 2.0 ** (np.floor(np.log2(size)) - BITS[dtype])
    n = len(a)
    return {
        "count": n,
        "mean": d.mean(),
        "m2": n * d.var(),
        "m3": n * stats.moment(d, 3),
        "m4": n * stats.moment(d, 4),
        "absolute": np.abs(d).sum(),
        "largest": np.abs(d).max(),
        "mean_a": a.mean(),
        "mean_b": b.mean(),
        "aa": n * a.var(),
        "bb": n * b.var(),
        "ab": n * np.cov(a, b, bias=True)[0, 1],
        "signed": (a != 0).sum(),
        "kept": (np.sign(a) * np.sign(b) > 0).sum(),
        "nonfinite": 0,
        "changed": (d != 0).sum(),
        "ulps": (np.abs(d) / ulp).sum(),
    }


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("count", [1, 1000, 2**18 + 1030])
@pytest.mark.parametrize("way", ["c", "torch"])
def test_each_sum_is_that_of_plain_float64(dtype, count, way, monkeypatch):
    if way == "torch":
        monkeypatch.setattr(sums, "_find_kernel", lambda: None)
    elif sums._find_kernel() is None:
        pytest.skip("there is no C compiler")
    a, b = draw(dtype, count)
    found = sum_up(a, b)
    for row in range(len(a)):
        expected = by_numpy(a[row].double().numpy(), b[row].double().numpy(), dtype)
        for name, value in expected.items():
            at = getattr(found, name)[row].item()
            assert at == pytest.approx(value, rel=1e-11, abs=1e-9), name


def test_pieces_and_empty_ones_merge_to_the_whole():
    a, b = draw(torch.float64, 5000, replicas=1)
    parts = [
        sum_up(a[:, start:end], b[:, start:end]).values_RS
        for start, end in ((0, 0), (0, 17), (17, 4000), (4000, 4000), (4000, 5000))
    ]
    merged, whole = merge(torch.stack(parts)), sum_up(a, b).values_RS
    by_noise = NAMES.index("kept_by_noise")  # of another shuffle
    torch.testing.assert_close(
        merged[:, :by_noise], whole[:, :by_noise], rtol=1e-12, atol=1e-12
    )


def test_nulls_are_those_of_independent_noise():
    """Deviations that do not know the start: both numbers are near their nulls."""
    draws = torch.Generator().manual_seed(0)
    w0 = torch.rand(400, 500, generator=draws) - 0.5
    w = w0 + 0.05 * torch.randn(400, 500, generator=draws)
    found = measure({"w": w0}, {"w": w}, kind="scalars").isel(replica=0, parameter=0)
    flips = 0.05 / (0.5 * np.sqrt(2 * np.pi))  # of small noise on U(-a, a)
    assert found.sign_flips_by_noise.item() == pytest.approx(flips, abs=1e-3)
    assert found.sign_flips.item() == pytest.approx(flips, abs=1e-3)
    assert found.correlation_by_noise.item() == pytest.approx(
        found.correlation.item(), abs=1e-3
    )
    # all shrink together: more of the start stays than such noise would leave
    against = measure({"w": w0}, {"w": 0.2 * w0}, kind="scalars").isel(replica=0)
    assert against.correlation.item() == pytest.approx(1)
    assert against.sign_flips.item() == 0
    assert against.sign_flips_by_noise.item() > 0.15


def test_what_changes_is_counted_as_it_is_stored():
    """A step of 1e-3 moves all weights in float32, and none of them in bfloat16."""
    w0 = torch.linspace(0.51, 0.99, 1000).bfloat16()
    step = 1e-3
    stored = (w0.double() - step).to(torch.bfloat16)
    by_16 = measure({"w": w0.float()}, {"w": stored}, kind="scalars").isel(replica=0)
    by_32 = measure({"w": w0.float()}, {"w": w0.float() - step}, kind="scalars")
    # the unit in the last place is 2^-8 there: half of it is above the step
    assert by_16.changed_share.item() == 0
    assert by_16.ulp_change.item() == 0
    assert by_32.isel(replica=0).changed_share.item() == 1
    assert by_32.ulp_change.item() == pytest.approx(step * 2**24, rel=1e-3)
    one_up = measure({"w": w0.float()}, {"w": w0 + 2**-8}, kind="scalars")
    assert one_up.ulp_change.item() == 1
